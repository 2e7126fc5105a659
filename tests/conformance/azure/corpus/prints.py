import os
import sys

def init():
    print("init", "prints", sep="-", end="")
    print("to stderr", file=sys.stderr)

def run(data):
    print("run got", data, flush=True)
    print(data, file=sys.stdout)
    sys.stdout.write("written\n")
    os.write(1, b"raw bytes \xff\x00\n")
    os.system("echo from a child")
    print({"a": 1}, [2], None)
    return "printed"
