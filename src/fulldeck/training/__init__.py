"""Training, evaluation and export. This room needs the extra ``train``."""
