"""From an old version of a module to a new one, behind a gate; or back."""
