"""The process on a device: loops that do not wait for each other."""
