import os

def init():
    global folder
    folder = os.environ.get("AZUREML_MODEL_DIR", "my fallback")

def run(data):
    return [folder, os.environ.get("AZUREML_ENTRY_SCRIPT", "").endswith("no_model_dir.py"), "AML_APP_ROOT" in os.environ]
