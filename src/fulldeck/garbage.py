"""A short start: what is imported stays, so to look through it for garbage again and again is lost time."""

import gc

MANY = 500_000
"""Objects that a start makes, with all that it imports, are fewer than this."""

_USUAL = gc.get_threshold()


def hold_garbage() -> None:
    """Look for no garbage while something starts."""
    gc.set_threshold(MANY)  # and not never, as it may wait for long: a model may come from far away


def look_for_garbage() -> None:
    """Look for garbage as usual again, but not among what is here now."""
    gc.freeze()
    gc.set_threshold(*_USUAL)
