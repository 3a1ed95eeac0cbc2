"""Data: get it, draw it, check it, feed it."""
