"""The reference kernel: how fast this machine is at this moment, for work like the server's."""

from __future__ import annotations

import json
import time

import numpy as np

_SIDE = 512  # of the matrices: 0.27 GFLOP a product, which fits into a core's cache
_PRODUCTS = 4
_OBJECTS = 400
_REPEATS = 3


def kernel_ms() -> float:
    """Return the milliseconds that the kernel takes, the median of three.

    Half of it is matrix products, as in an engine, half is Python, as around it: machines differ in both.
    """
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((_SIDE, _SIDE), dtype=np.float32) for _ in range(2))
    content = {f"key {number}": [number, str(number), number / 7] for number in range(_OBJECTS)}
    times_ms = []
    for _ in range(_REPEATS):
        start_s = time.perf_counter()
        for _ in range(_PRODUCTS):
            left @ right
        for _ in range(_PRODUCTS):
            json.loads(json.dumps(content, indent=1))
        times_ms.append((time.perf_counter() - start_s) * 1000)
    return float(np.median(times_ms))
