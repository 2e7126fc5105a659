"""What runs where: the command `inferry`, and later deployments, targets and runs."""
