from azureml.contrib.services.aml_request import AMLRequest, rawhttp
from azureml.contrib.services.aml_response import AMLResponse

def init():
    pass

@rawhttp
def run(request):
    return {
        "method": request.method, "path": request.path, "query": request.query_string.decode(),
        "args": request.args.to_dict(flat=False), "data": request.data.decode("latin-1"),
        "body": request.get_data().decode("latin-1"), "is_json": request.is_json, "mimetype": request.mimetype,
        "content_type": request.content_type, "length": request.content_length, "token": request.headers.get("x-token"),
        "form": request.form.to_dict(flat=False), "full_path": request.full_path, "scheme": request.scheme,
        "cookies": request.cookies.to_dict(), "endpoint": request.endpoint, "blueprint": request.blueprint,
        "script_root": request.script_root, "agent": str(request.user_agent), "remote": request.remote_addr,
        "accept": str(request.accept_mimetypes), "secure": request.is_secure, "view_args": request.view_args,
    }
