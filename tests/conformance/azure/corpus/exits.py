import sys

def init():
    pass

def run(data):
    if data == "exit":
        sys.exit(4)
    if data == "interrupt":
        raise KeyboardInterrupt()
    if data == "generator-exit":
        raise GeneratorExit()
    return "alive"
