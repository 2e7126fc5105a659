"""What a script finds beside its own packages on a target."""
