"""Where operators are asked: each channel is one module, and one line in `aegis_core.channels.registry`."""
