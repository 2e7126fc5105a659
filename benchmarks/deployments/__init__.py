"""Deployments under load, as a user has them: ``inferry up`` as a process, HAProxy, real servers.

python -m benchmarks.deployments [--only updates,kills] [--short]
"""
