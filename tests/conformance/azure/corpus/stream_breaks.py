from azureml.contrib.services.aml_response import AMLResponse

def init():
    pass

def later():
    yield "first"
    raise ValueError("half way")

def at_once():
    raise ValueError("at once")
    yield

def run(data):
    return AMLResponse(later() if data == "later" else at_once() if data == "at once" else "whole", 200)
