"""What is measured on a device, and what its applications say."""
