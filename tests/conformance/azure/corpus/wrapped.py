import functools

def logged(func):
    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        return ["wrapped", func(*args, **kwargs)]
    return wrapper

def init():
    pass

@logged
def run(data):
    return data
