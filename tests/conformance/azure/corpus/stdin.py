import sys

def init():
    pass

def run(data):
    return {"stdin": sys.stdin.read(), "sum": sum(map(int, data.split()))}
