"""Makes deployments what they are declared to be (registry/deployments)."""
