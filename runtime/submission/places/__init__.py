"""Where submitted scripts run."""
