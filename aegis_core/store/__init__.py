"""Redis: the connection, the embedded server, the key names and the scripts. Only this package imports redis."""
