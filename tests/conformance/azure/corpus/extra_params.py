def init():
    pass

def run(data, threshold=0.5, *, name="x"):
    return [data, threshold, name]
