def init():
    pass

def run(*, payload):
    return payload.upper()
