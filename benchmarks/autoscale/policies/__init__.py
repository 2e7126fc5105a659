"""Policies to compare; each says how many replicas there are to be, when it is asked."""
