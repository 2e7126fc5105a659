"""What no client should send, to every route of the service: the verbs, the portal's pages,
MLflow's REST and the registry."""
