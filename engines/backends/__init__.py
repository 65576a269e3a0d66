"""One module a backend, imported only when it is asked for."""
