from azureml_inference_server_http.api.aml_request import AMLRequest, rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse
import azureml.contrib.services.aml_request as other_request
import azureml.contrib.services.aml_response as other_response

def init():
    pass

@rawhttp
def run(request: AMLRequest):
    same = other_request.AMLRequest is AMLRequest and other_response.AMLResponse is AMLResponse
    return AMLResponse({"same": same, "data": request.get_data(as_text=True)}, 201, json_str=True)
