from azureml.contrib.services.aml_response import AMLResponse

def init():
    pass

def run(data):
    response = AMLResponse("body", 200)
    response.headers["X-Set"] = "set"
    response.set_cookie("session", "abc", max_age=60)
    response.mimetype = "text/plain"
    response.status_code = 206
    if data == "data":
        response.set_data("other body")
    if data == "json":
        response.data = '{"a": 1}'
        response.content_type = "application/json"
    return response
