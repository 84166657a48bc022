"""ONNX Runtime's two ways to spend memory on time, as values that need no runtime to be named."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allocator:
    """How a session gets the memory of its activations; the defaults are this project's.

    Attributes:
        arena: what an activation gives back is kept for the next one and never returned to the system, so
            that a process stays as large as its largest call made it. Without the arena each activation is
            allocated and freed, and large ones come from the system anew, page by page, in every call.
        mem_pattern: the second call of the same input shapes gets all its activations in one piece, planned
            from what the first one asked for. That is ONNX Runtime's own default. It is off here because
            a piece is kept for each shape, so that every batch size that was ever tried adds to the
            process, and calls are no quicker for it.
    """

    arena: bool = True
    mem_pattern: bool = False
