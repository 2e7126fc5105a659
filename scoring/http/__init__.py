"""HTTP: the only place in scoring that knows status codes and headers."""
