"""Labels for more pictures than one machine cares to name: split into chunks, each done anywhere, once."""
