import time

def init():
    pass

def run(data):
    if data == "sleep":
        time.sleep(5)
    if data == "busy":
        while True:
            pass
    if data == "swallow":
        try:
            time.sleep(5)
        except TimeoutError:
            return "caught"
    return "in time"
