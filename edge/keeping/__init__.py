"""What runs goes on running: restarts with backoff, probes from outside. See port.py."""
