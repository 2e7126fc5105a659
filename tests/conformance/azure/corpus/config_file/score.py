import os
import time

def init():
    pass

def run(data):
    if data == "sleep":
        time.sleep(5)
    return os.environ.get("AZUREML_MODEL_DIR", "not in the environment")
