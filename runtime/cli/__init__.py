"""The command line `inferry`: one module a group of commands, each imported when it is called."""
