import library

def init():
    pass

def run(data):
    return library.answer(data)
