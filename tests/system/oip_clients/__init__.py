"""What the public clients are made to do. These modules run in .venv-oip (scripts/oip-clients),
where nothing of ours is installed: each prints a line of JSON for each of its cases."""
