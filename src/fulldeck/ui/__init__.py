"""The web page. This room needs the extra ``ui``."""
