from azureml.contrib.services.aml_request import rawhttp

def init():
    pass

@rawhttp
def run(request, request_headers):
    own = {k: v for k, v in request.headers.items() if k not in ("Host", "Accept-Encoding")}
    return {"own": own, "same": dict(request.headers) == request_headers, "multi": request.headers.getlist("X-Multi"),
            "host": request.host.startswith("127.0.0.1:"), "url": request.base_url.startswith("http://127.0.0.1:"),
            "in": "x-multi" in request.headers}
