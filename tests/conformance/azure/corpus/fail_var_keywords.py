def init():
    pass

def run(data, **kwargs):
    return data
