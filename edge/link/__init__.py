"""One connection to the broker, kept up for ever: see port.py for what it promises."""
