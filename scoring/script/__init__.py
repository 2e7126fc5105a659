"""A score.py in worker processes, seen from the server."""
