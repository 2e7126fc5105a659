"""Where modules run: see port.py for what a host promises."""
