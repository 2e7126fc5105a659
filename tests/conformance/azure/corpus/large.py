def init():
    pass

def run(data):
    return {"length": len(data), "back": "x" * 300000}
