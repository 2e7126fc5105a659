def prepare():
    global ready
    ready = "prepared"

def run(payload):
    return [ready, payload]
