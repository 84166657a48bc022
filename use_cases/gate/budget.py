"""The budget: what each quantity of the gate may be, kept in a file and changed only on purpose."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from engines.errors import InvalidInputError

Unit: TypeAlias = Literal["kernels", "MB"]
Verdict: TypeAlias = Literal["ok", "over", "under", "new", "gone"]

# Times vary from run to run on a shared machine even beside a kernel; memory and files hardly do.
_HIGH: Mapping[Unit, float] = {"kernels": 2.0, "MB": 1.25}
_LOW: Mapping[Unit, float] = {"kernels": 0.4, "MB": 0.6}
_DIGITS = 4
_LARGEST = sys.float_info.max


@dataclass(frozen=True, slots=True)
class Quantity:
    """One measured number."""

    name: str
    unit: Unit
    value: float  # a time divided by the reference kernel's, or 10**6 bytes
    ms: float | None = None  # the time itself


@dataclass(frozen=True, slots=True)
class Limit:
    """The band that a quantity has to stay in."""

    unit: Unit
    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A quantity beside its limit; "new" has no limit yet, "gone" was not measured."""

    name: str
    quantity: Quantity | None
    limit: Limit | None
    verdict: Verdict

    @property
    def fails(self) -> bool:
        """Tell whether the gate has to stop this; what is faster than expected only asks for an update."""
        return self.verdict in ("over", "new", "gone")


def read_budget(path: Path) -> dict[str, Limit]:
    """Return the limits by name; none when there is no file.

    Raises:
        InvalidInputError: when the file cannot be read or is no budget.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        return {name: _limit(**limit) for name, limit in content["limits"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read ({error.strerror}).") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidInputError(
            f"{path.name} is no budget; remove it and write it anew with --update."
        ) from None


def check_writable(path: Path) -> None:
    """Check that a budget can be written here, before much time is spent on measuring it.

    Raises:
        InvalidInputError: when it cannot.
    """
    try:
        if path.exists():
            path.open("ab").close()
        else:  # nothing is left behind where the measuring fails
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise _not_written(path, error) from None


def write_budget(path: Path, limits: Mapping[str, Limit]) -> None:
    """Write the limits, sorted by name, with what they mean.

    Raises:
        InvalidInputError: when the file cannot be written.
    """
    content = {
        "about": "What python -m app.cli.gate allows; written by it with --update. A time is divided by that"
        " of a reference kernel measured in the same run; memory and files are in 10**6 bytes.",
        "limits": {
            name: {"unit": each.unit, "expected": each.expected, "low": each.low, "high": each.high}
            for name, each in sorted(limits.items())
        },
    }
    try:
        path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise _not_written(path, error) from None


def limit_of(quantity: Quantity) -> Limit:
    """Return the band around what was measured."""
    bounds = (quantity.value, quantity.value * _LOW[quantity.unit], quantity.value * _HIGH[quantity.unit])
    expected, low, high = (float(f"{bound:.{_DIGITS}g}") for bound in bounds)
    return Limit(quantity.unit, expected, low, high)


def judge(quantities: Sequence[Quantity], limits: Mapping[str, Limit]) -> list[Judged]:
    """Return every quantity that was measured or has a limit, in the order of measuring."""
    measured = {quantity.name: quantity for quantity in quantities}
    names = dict.fromkeys([*measured, *limits])
    return [_judge(name, measured.get(name), limits.get(name)) for name in names]


def difference(before: dict[str, Limit], after: dict[str, Limit]) -> list[str]:
    """Return a line for each limit that changes, for who updates the file."""
    lines = []
    for name in sorted(before | after):
        old, new = before.get(name), after.get(name)
        if old != new:
            lines.append(f"{name}: {_text(old)} -> {_text(new)}")
    return lines


def _limit(unit: Any, expected: Any, low: Any, high: Any) -> Limit:
    """Return a limit of a file, in which anything may stand: nothing would ever be over a limit of NaN."""
    if unit not in get_args(Unit):
        raise ValueError(f"There is no unit {unit!r}.")
    for bound in (expected, low, high):
        # JSON's integers have no end; no float is as large as some of them.
        if isinstance(bound, bool) or not -_LARGEST <= bound <= _LARGEST:
            raise ValueError(f"{bound!r} is no finite number.")
    if low > high:
        raise ValueError(f"{low!r} is above {high!r}.")
    return Limit(unit, expected, low, high)


def _not_written(path: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(f"{path} cannot be written ({error.strerror}).")


def _judge(name: str, quantity: Quantity | None, limit: Limit | None) -> Judged:
    if quantity is None:
        return Judged(name, None, limit, "gone")
    if limit is None:
        return Judged(name, quantity, None, "new")
    verdict: Verdict = (
        "over" if quantity.value > limit.high else "under" if quantity.value < limit.low else "ok"
    )
    return Judged(name, quantity, limit, verdict)


def _text(limit: Limit | None) -> str:
    if limit is None:
        return "nothing"
    return f"{limit.expected:g} {limit.unit} ({limit.low:g} to {limit.high:g})"
