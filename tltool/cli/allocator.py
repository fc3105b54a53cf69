"""Memory of the C library: keep what the network frees, for it is needed again at once."""

import ctypes
import os
import sys

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Make glibc keep large freed blocks instead of handing them back to the system.

    By default each large activation is mapped anew, and the system must clear it page by page: on 2
    cores a forward pass of EfficientNet-Lite0 with 32 images was 2.4 times as fast with this
    (`scripts/benchmark/allocator.py`, de1d2f5). Other allocators and settings of the user are left
    alone.

    Returns:
        Whether anything was set.
    """
    is_tuned = any(name.startswith("MALLOC_") for name in os.environ) or "LD_PRELOAD" in os.environ
    if not sys.platform.startswith("linux") or is_tuned:
        return False
    library = ctypes.CDLL(None)
    if not (hasattr(library, "mallopt") and hasattr(library, "gnu_get_libc_version")):
        return False  # Another C library, such as musl.
    return bool(library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
