from azureml.contrib.services.aml_request import *
from azureml.contrib.services.aml_response import *

def init():
    pass

@rawhttp
def run(request):
    if request.method == "POST":
        return AMLResponse(request.get_data(False)[::-1], 200)
    if request.method == "GET":
        return AMLResponse(request.full_path, 200)
    return AMLResponse("bad request", 405)
