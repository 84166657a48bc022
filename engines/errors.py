"""The errors that may leave the engines; the message is one sentence that a user can act on.

EngineError
├── UnknownModelError        no model or engine of that name can be found
├── BackendUnavailableError  an optional package, a weight file or a device is missing
├── QualityGateError         a quantized engine is too far from float32
├── InvalidInputError        the caller's image, text or setting cannot be used
│   └── FileAccessError      a file cannot be read now
├── InferenceError           the runtime failed on a valid batch
├── OverloadedError          the batcher's queue is full
└── EngineClosedError        the engine was stopped before it could answer
"""

from __future__ import annotations

import re


class EngineError(Exception):
    """Base of all errors that a caller of an engine may want to catch."""

    @property
    def code(self) -> str:
        """A short name for programs, such as "invalid_input" for InvalidInputError."""
        words = re.findall("[A-Z][a-z]*", type(self).__name__.removesuffix("Error"))
        return "_".join(words).lower()


class UnknownModelError(EngineError):
    """No model or engine of that name can be found."""


class BackendUnavailableError(EngineError):
    """An optional package, a weight file or a device that the engine needs is missing."""


class QualityGateError(EngineError):
    """A quantized engine's embeddings are too far from those of float32; it can be forced."""


class InvalidInputError(EngineError):
    """The caller's image, text or setting cannot be used."""


class FileAccessError(InvalidInputError):
    """A file cannot be read now, whatever it holds; another try may succeed."""


class InferenceError(EngineError):
    """The runtime failed on a valid batch."""


class OverloadedError(EngineError):
    """The batcher's queue is full; the same request may succeed later."""


class EngineClosedError(EngineError):
    """The engine was stopped before it could answer."""
