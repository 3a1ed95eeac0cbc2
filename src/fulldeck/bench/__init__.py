"""Loads on what fulldeck serves. This room needs the extra ``bench``; it imports nothing of the others but errors."""
