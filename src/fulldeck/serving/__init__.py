"""The HTTP service. This room needs the extra ``serve``."""
