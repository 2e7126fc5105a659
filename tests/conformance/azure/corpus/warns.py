import warnings
warnings.warn("at import")

def init():
    warnings.warn("in init")

def run(data):
    warnings.warn("in run")
    return "warned"
