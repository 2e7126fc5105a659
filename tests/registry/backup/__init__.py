"""Backups of workspaces."""
