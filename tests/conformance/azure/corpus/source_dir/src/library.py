def answer(data):
    return "library " + data
