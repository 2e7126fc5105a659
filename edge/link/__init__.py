"""One connection to the broker, kept up for ever: see port.py for what it promises.

mqtt.py: when to connect. connection.py: one connection, by paho. sockets.py, backoff.py,
settings.py.
memory.py: links without a network, for tests.
"""
