import signal

def init():
    signal.signal(signal.SIGALRM, lambda *_: None)

def run(data):
    return signal.getsignal(signal.SIGALRM).__name__ == "<lambda>"
