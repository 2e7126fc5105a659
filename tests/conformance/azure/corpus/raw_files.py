from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse

def init():
    pass

@rawhttp
def run(request):
    files = {name: [file.filename, file.content_type, len(file.read())] for name, file in request.files.items()}
    return {"files": files, "form": request.form.to_dict(flat=False), "values": sorted(request.values),
            "data": len(request.data)}
