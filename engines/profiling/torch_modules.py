"""Tell when a tower's blocks begin and end; knows modules and their names, not what is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.hooks import RemovableHandle

from engines.models import Family
from engines.profiling.blocks import block_of


@contextmanager
def watch_modules(
    tower: nn.Module, family: Family, on_enter: Callable[[str], None], on_leave: Callable[[str], None]
) -> Iterator[None]:
    """Call back with the path of each watched module, "" for the tower itself, when it begins and ends."""
    handles: list[RemovableHandle] = []
    for path, module in watched_modules(tower, family):
        # Before the engine's own hooks, which cast for bfloat16 and are part of the work.
        handles.append(module.register_forward_pre_hook(partial(_call, on_enter, path), prepend=True))
        handles.append(module.register_forward_hook(partial(_call, on_leave, path)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def watched_modules(tower: nn.Module, family: Family, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that hold several blocks, and those that are one or part of one.

    What lies inside the latter is the same block's, and hooks there would only cost time. A module that
    does nothing has no place in a profile: an exported graph does not know it.
    """
    if not _does_nothing(tower):
        yield path, tower
    if block_of(path, family) is None:
        for name, child in tower.named_children():
            yield from watched_modules(child, family, f"{path}.{name}" if path else name)


def _does_nothing(module: nn.Module) -> bool:
    is_empty = isinstance(module, nn.Sequential) and len(module) == 0
    return is_empty or isinstance(module, nn.Identity | nn.Dropout)


def _call(callback: Callable[[str], None], path: str, *_: object) -> None:
    callback(path)
