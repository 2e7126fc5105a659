"""The supervisor: it owns the listeners, keeps server processes alive and moves connections."""
