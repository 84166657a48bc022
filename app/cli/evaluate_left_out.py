"""The images that an evaluation left out, as lines for people."""

from __future__ import annotations

from collections.abc import Mapping

from use_cases.wording import counted

_SHOWN = 20  # images


def left_out_lines(left_out: Mapping[str, str], with_what: str = "") -> list[str]:
    """Return how many images were left out, then the first ones with their reasons; nothing for none.

    Args:
        left_out: the reasons by the image's name.
        with_what: went with the images, such as ", with their captions".
    """
    if not left_out:
        return []
    lines = [f"{counted(len(left_out), 'image')} left out{with_what}:"]
    lines += [f"  {name}: {reason}" for name, reason in list(left_out.items())[:_SHOWN]]
    if len(left_out) > _SHOWN:
        lines.append(f"  and {len(left_out) - _SHOWN:,} more")
    return lines
