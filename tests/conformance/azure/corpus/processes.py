import multiprocessing
import subprocess
import sys

def init():
    pass

def work(x):
    return x + 1

def run(data):
    context = multiprocessing.get_context("fork")
    process = context.Process(target=__import__("time").sleep, args=(60,))
    process.start()
    process.terminate()
    process.join(10)
    child = subprocess.run([sys.executable, "-c", "print(6*7)"], capture_output=True, text=True)
    return [process.exitcode, child.stdout]
