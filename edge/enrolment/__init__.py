"""Who may speak: certificates of devices, configuration of the broker."""
