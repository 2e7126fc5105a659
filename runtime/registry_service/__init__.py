"""The workspace's registry over HTTP: ``/v2/`` of the OCI distribution specification 1.1."""
