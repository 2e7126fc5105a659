"""A few names of Azure's package."""
