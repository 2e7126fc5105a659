"""The process beside the workspace: devices, deployments, rollouts, telemetry."""
