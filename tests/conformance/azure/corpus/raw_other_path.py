from azureml_inference_server_http.api.aml_request import AMLRequest, rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse
from azureml.contrib.services.aml_request import AMLRequest as OtherRequest
from azureml.contrib.services.aml_response import AMLResponse as OtherResponse

def init():
    pass

@rawhttp
def run(request: AMLRequest):
    same = OtherRequest is AMLRequest and OtherResponse is AMLResponse
    return AMLResponse({"same": same, "data": request.get_data(as_text=True)}, 201, json_str=True)
