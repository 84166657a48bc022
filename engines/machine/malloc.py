"""What glibc does with memory that is freed: keep it for the next image, and give it back now and then."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt (glibc's malloc.h)
_LARGEST_KEPT = (16 << 20) + 4096  # bytes; a block of Pillow's (16 MiB at most) and malloc's header
_MOST_KEPT = 32 << 20  # bytes at the end of a thread's pool


def keep_freed_memory() -> None:
    """Let freed buffers of images wait for the next image, instead of going back to the system at once.

    Otherwise each buffer is mapped anew and the kernel clears its pages one by one at their first use,
    which costs a 640 x 480 JPEG a quarter of its decoding and preparation. Other C libraries stay as they
    are.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, _MOST_KEPT)


def trim_memory() -> None:
    """Give back what decoded images left in the pools of the threads that decoded them."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
