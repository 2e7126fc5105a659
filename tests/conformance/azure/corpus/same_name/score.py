from scoring.steps import answer

def init():
    pass

def run(data):
    return answer(data)
