"""MLflow's REST for one workspace: the stock ``mlflow`` client tracks into it, keeps artifacts in
it and registers models with it.

    app = MlflowApp(workspace)  # an ASGI application; paths begin with /api/2.0/mlflow/

Whoever mounts it decides who may come in: ROUTES says what each route takes.
"""

from runtime.mlflow_service.app import MlflowApp
from runtime.mlflow_service.limits import Limits
from runtime.mlflow_service.routes import ROUTES, Route

__all__ = ["ROUTES", "Limits", "MlflowApp", "Route"]
