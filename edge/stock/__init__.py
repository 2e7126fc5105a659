"""The images that a device has: see port.py."""
