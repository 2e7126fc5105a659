import builtins

def init():
    pass

def run(data):
    return [callable(print), print.__name__, builtins.print is print]
