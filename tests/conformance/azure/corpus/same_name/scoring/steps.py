def answer(data):
    return "scoring.steps of the user: " + data
