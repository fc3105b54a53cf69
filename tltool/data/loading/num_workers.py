"""Number of worker processes that decode images."""

from lightning.fabric.utilities import suggested_max_num_workers

_MOST = 8  # more would wait for the disk and for the main process


def resolve_num_workers(num_workers: int | None, num_devices: int) -> int:
    """Return the number of worker processes of each device.

    Args:
        num_workers: What the user asked for; ``None`` for one less than its share of the CPU cores.
        num_devices: Number of devices of this machine that share the cores.

    Example:
        >>> resolve_num_workers(0, 1)
        0
        >>> 1 <= resolve_num_workers(None, 1) <= 8
        True
    """
    if num_workers is None:
        return min(_MOST, suggested_max_num_workers(num_devices))
    if num_workers < 0:
        raise ValueError(
            f"`num_workers` must be at least 0, got {num_workers}. "
            "Set --data.num_workers 0 to decode in the main process."
        )
    return num_workers
