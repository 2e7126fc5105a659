"""Programs on an SSH server. asyncssh is named in connection.py, and with the datastores in
runtime/datastores/ssh."""
