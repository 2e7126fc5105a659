import os

def init():
    global model
    folder = os.getenv("AZUREML_MODEL_DIR", "fallback")
    with open(os.path.join(folder, "model.txt")) as file:
        model = file.read().strip()

def run(data):
    return {"model": model, "data": data}
