"""Errors for what has happened to another rank."""


class RankFailedError(ConnectionError):
    """Another rank has failed; the message says which, and why."""


class RankLostError(RankFailedError):
    """Another rank was killed, or its node is gone: the run is not over, but interrupted."""
