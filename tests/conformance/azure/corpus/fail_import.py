import a_module_that_is_not_there

def init():
    pass

def run(data):
    return data
