"""Policies of autoscale compared on generated and recorded load: python -m benchmarks.autoscale."""
