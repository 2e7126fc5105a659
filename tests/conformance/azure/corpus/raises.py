import sys

def init():
    pass

class Odd(Exception):
    def __str__(self):
        raise RuntimeError("no text")

def run(data):
    if data == "value":
        raise ValueError("secret text")
    if data == "key":
        return {}["missing"]
    if data == "timeout":
        raise TimeoutError("my own")
    if data == "recursion":
        return run(data)
    if data == "assert":
        assert False, "no"
    if data == "odd":
        raise Odd()
    if data == "memory":
        raise MemoryError()
    if data == "stop":
        raise StopIteration()
    return "fine"
