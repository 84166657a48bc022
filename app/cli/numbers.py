"""The numbers that commands take as arguments, for argparse: checked before minutes of work."""

from __future__ import annotations

import argparse

_MAX_SECONDS, _MAX_ROUNDS = 3600.0, 100


def rounds(text: str) -> int:
    """Return a number of rounds.

    Raises:
        ArgumentTypeError: when it is none that anybody would wait for.
    """
    return whole_number(text, _MAX_ROUNDS)


def seconds(text: str) -> float:
    """Return a time in seconds, above 0.

    Raises:
        ArgumentTypeError: when it is none that anybody would wait for.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= _MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to {_MAX_SECONDS:g}")
    return number


def whole_number(text: str, most: int | None = None) -> int:
    """Return a whole number from 1 on, or to `most`.

    Raises:
        ArgumentTypeError: when it is another, or none.
    """
    number = int(text) if text.strip().isdecimal() else 0
    if number < 1 or (most is not None and number > most):
        end = "on" if most is None else f"to {most}"
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 {end}")
    return number
