"""Errors about images: a file that cannot be decoded, and pixels whose range is not known."""


class BrokenImageError(ValueError):
    """A file that cannot be decoded; the message names it and says what to do."""


class UnknownRangeError(BrokenImageError):
    """An image that is whole, but of whose values nothing says which are black and white."""
