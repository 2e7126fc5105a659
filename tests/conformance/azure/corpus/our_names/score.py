import registry
import runtime.parts
from edge import side
import fpga
import tests

def init():
    pass

def run(data):
    return [registry.WHO, runtime.parts.WHO, side(), fpga.WHO, tests.WHO]
