"""The errors a user can mend. Each carries one sentence: what was wrong, with which file, and what to do."""


class FulldeckError(Exception):
    """A fault of the input or the setting, not of the program; commands print it without a stack trace."""


class ImageError(FulldeckError):
    """These bytes are no image that can be used.

    Attributes:
        kind: The fault in a word, for programs: ``empty``, ``not_an_image``, ``unsupported`` (its decoder is not
            installed), ``truncated``, ``damaged``, ``too_small``, ``too_many_pixels``, ``too_many_bytes``,
            ``not_rgb`` (an array of another form), or ``unreadable`` (there is nothing to read at this path).
    """

    def __init__(self, message: str, kind: str = "unreadable") -> None:
        super().__init__(message)
        self.kind = kind


class ModelError(FulldeckError):
    """This file is no model that can be used."""


class DataError(FulldeckError):
    """This folder, zip or download is no dataset that can be used."""


class ConfigError(FulldeckError):
    """These settings cannot be used together, or name something that is not there."""
