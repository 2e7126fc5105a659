"""The workspace over HTTP: what the command line and the Python API do, for those elsewhere.

    /api/v1/...                 the verbs, from one table of routes; /openapi.json has them
    /api/2.0/mlflow/...         MLflow's REST (runtime/mlflow_service)
    /v2/...                     images, for docker and others (runtime/registry_service)
    /ui/...                     the portal (runtime/portal)

roles.py        who may do what
route.py        a route: method, path, role, and the function that does it
call.py         one request as such a function sees it
binding.py      path, query and body as the function's arguments
table.py        which route a path means
faults.py       errors as status and code, and back
answers.py      results as JSON or MessagePack
openapi.py      the table as an OpenAPI document
site.py         the workspaces that one service has
app.py          the ASGI application of /api/v1
service.py      the whole: which part answers, and who asks
"""
