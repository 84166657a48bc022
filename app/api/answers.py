"""Answers: rounded numbers, stage times in the body and in the Server-Timing header."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from starlette.responses import Response

from engines.pool import PooledEngine
from engines.tracing import span


class Answer(Response):
    """JSON with arrays and dataclasses in it, and how long each stage took."""

    media_type = "application/json"

    def __init__(self, content: Mapping[str, Any], timings_ms: Mapping[str, float]) -> None:
        rounded = {stage: round(ms, 3) for stage, ms in timings_ms.items()}
        body = {**content, "timings_ms": rounded}
        with span("respond"):
            text = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        super().__init__(text, headers=server_timing(timings_ms))


def server_timing(timings_ms: Mapping[str, float]) -> dict[str, str]:
    """Return the header that browsers show in their developer tools."""
    return {"Server-Timing": ", ".join(f"{stage};dur={ms:.2f}" for stage, ms in timings_ms.items())}


def facts_of(pooled: PooledEngine) -> dict[str, Any]:
    """Return what every answer tells about the engine that it came from."""
    engine = pooled.engine
    return {"model": engine.spec.name, "engine": engine.engine.name, "cold": pooled.load_ms > 0}


def to_base64(rows: NDArray[np.float32]) -> str:
    """Return an array as base64 of float32, little-endian."""
    return base64.b64encode(rows.astype("<f4", copy=False).tobytes()).decode("ascii")
