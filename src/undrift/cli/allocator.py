"""Memory that a network frees is kept for its next step.

glibc gives large blocks back to the system as soon as they are free, and gets them again, zeroed page by page, for the next layer: a
fifth to a third of the time of a small network's forward pass on a CPU (bench/allocator.py).
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's names for them
_KEPT, _LARGEST = 2**31 - 1, 2**30  # bytes of free memory to keep; of a block that is taken from it


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed, for this process; returns whether it did. What MALLOC_ variables say goes first."""
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT)) and bool(mallopt(_MMAP_THRESHOLD, _LARGEST))
