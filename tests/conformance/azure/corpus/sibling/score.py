from helper import double
from package.deep import triple

def init():
    pass

def run(data):
    return [double(int(data)), triple(int(data))]
