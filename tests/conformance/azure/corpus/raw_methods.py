from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse

def init():
    pass

@rawhttp
def run(request):
    if request.method == "OPTIONS":
        return AMLResponse("", 204, {"Allow": "POST,OPTIONS", "Access-Control-Allow-Methods": "POST"})
    return AMLResponse(f"hello {request.method}", 200, {"X-Method": request.method})
