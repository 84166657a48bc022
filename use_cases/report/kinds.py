"""The kinds of records that the report knows; a new one is one module and one entry here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from use_cases.report.calibration import CALIBRATION
from use_cases.report.general import general_kind
from use_cases.report.index import INDEX
from use_cases.report.kind import Kind
from use_cases.report.load import LOAD
from use_cases.report.requests import REQUESTS
from use_cases.report.retrieval import RETRIEVAL
from use_cases.report.towers import TOWERS
from use_cases.report.zero_shot import ZERO_SHOT

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "towers": TOWERS,
        "requests": REQUESTS,
        "load": LOAD,
        "zero-shot": ZERO_SHOT,
        "calibration": CALIBRATION,
        "retrieval": RETRIEVAL,
        "index": INDEX,
    }
)


def kind_of(name: str) -> Kind:
    """Return how records of a kind are shown; in general terms where the kind is unknown."""
    return KINDS.get(name) or general_kind(name)
