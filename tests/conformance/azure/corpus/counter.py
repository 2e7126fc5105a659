count = 0

def init():
    global count
    count = 100

def run(data):
    global count
    count += 1
    return count
