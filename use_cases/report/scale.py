"""Axes: from values to places on the drawing, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_MARGIN = 0.04  # of the axis, free at each end
_NUM_TICKS = 6  # about so many


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis: values from `low` to `high` lie between the places `start` and `stop`."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    @classmethod
    def over(cls, values: Sequence[float], start: float, stop: float, *, log: bool = False) -> Scale:
        """Return a scale on which all values are visible.

        Args:
            values: at least one; above 0 on a logarithmic axis.
            start: where the axis begins, in pixels.
            stop: where it ends.
            log: logarithmic.
        """
        low, high = (math.log10(min(values)), math.log10(max(values))) if log else (min(values), max(values))
        margin = (high - low or abs(high) or 1.0) * _MARGIN
        if low == high == 0 and not log:  # nothing but zeros, which have no margin
            return cls(0.0, 1.0, start, stop)
        # An axis that ends at 0 on purpose begins exactly there.
        low = low if low == 0 and not log else low - margin
        high = high if high == 0 and not log else high + margin
        return cls(low, high, start, stop, log)

    def at(self, value: float) -> float:
        """Return a value's place."""
        along = math.log10(value) if self.log else value
        return self.start + (along - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Return round values on the axis with what to write at them."""
        if not self.log:
            return _round_values(self.low, self.high)
        if self.high - self.low < 1:  # less than a decade, which holds too few powers
            return _round_values(10**self.low, 10**self.high)
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        factors = (1,) if self.high - self.low > 3 else (1, 2, 5)
        values = [factor * 10.0**decade for decade in decades for factor in factors]
        return [(value, f"{value:,.6g}") for value in values if self.low <= math.log10(value) <= self.high]


def _round_values(low: float, high: float) -> list[tuple[float, str]]:
    rough = (high - low) / _NUM_TICKS
    power = math.floor(math.log10(rough))
    step = next(factor * 10.0**power for factor in (1, 2, 5, 10) if factor * 10.0**power >= rough)
    digits = max(0, -math.floor(math.log10(step)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(index * step, f"{index * step:,.{digits}f}") for index in range(first, last + 1)]
