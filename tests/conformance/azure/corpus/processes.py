import multiprocessing
import subprocess
import sys
import time

def init():
    pass

def hold(begun):
    begun.set()
    time.sleep(60)

def run(data):
    context = multiprocessing.get_context("fork")
    begun = context.Event()
    process = context.Process(target=hold, args=(begun,))
    process.start()
    begun.wait(10)
    process.kill()  # SIGTERM does nothing in the reference, whose handler the child inherits
    process.join(10)
    child = subprocess.run([sys.executable, "-c", "print(6*7)"], capture_output=True, text=True)
    return [process.exitcode, child.stdout]
