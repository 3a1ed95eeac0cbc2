"""The errors a user can mend. Each carries one sentence: what was wrong, with which file, and what to do."""


class FulldeckError(Exception):
    """A fault of the input or the setting, not of the program; commands print it without a stack trace."""


class ImageError(FulldeckError):
    """These bytes are no image that can be used."""


class ModelError(FulldeckError):
    """This file is no model that can be used."""


class DataError(FulldeckError):
    """This folder, zip or download is no dataset that can be used."""


class ConfigError(FulldeckError):
    """These settings cannot be used together, or name something that is not there."""
