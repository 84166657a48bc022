"""The errors of an image index; like all EngineErrors, one sentence that a user can act on.

EngineError
├── UnknownIndexError      there is no index of that name, or no such image in it
├── IndexMismatchError     the index was built with another model, or another state of it
├── IndexNotAllowedError   this server lets nobody do that
├── IndexBusyError         another process, or another job, is adding images to it
└── IndexStorageError      it cannot be read or written: no space, no permission, damage
"""

from __future__ import annotations

from engines.errors import EngineError


class UnknownIndexError(EngineError):
    """There is no index of that name, or no such image in it."""


class IndexMismatchError(EngineError):
    """The index was built with another model than the one that is to search it."""


class IndexNotAllowedError(EngineError):
    """This server lets nobody change its indexes, or read that folder."""


class IndexBusyError(EngineError):
    """Somebody else is adding images to the index; the same request may succeed later."""


class IndexStorageError(EngineError):
    """The index cannot be read or written."""
