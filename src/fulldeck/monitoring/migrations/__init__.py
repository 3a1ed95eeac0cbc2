"""Alembic's migrations of the prediction log: one file a change, which is never changed itself."""
