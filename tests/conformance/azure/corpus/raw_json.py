from azureml.contrib.services.aml_request import rawhttp

def init():
    pass

def attempt(call):
    try:
        return call()
    except Exception as error:
        return [type(error).__name__, getattr(error, "code", None), getattr(error, "description", None)]

@rawhttp
def run(request):
    if request.args.get("let") == "go":
        return request.json
    return {
        "json": attempt(lambda: request.json), "get_json": attempt(request.get_json),
        "silent": attempt(lambda: request.get_json(silent=True)),
        "force": attempt(lambda: request.get_json(force=True)),
        "missing": attempt(lambda: request.args["nope"]),
        "is_json": request.is_json,
    }
