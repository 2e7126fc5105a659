"""Deployments, desired states and rollouts of edge/hub/."""
