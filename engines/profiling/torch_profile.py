"""PyTorch's profiler on a tower, for the engines torch-* and bnb-*."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from engines.factory import EngineOptions, load_engine
from engines.models import ModelSpec
from engines.profiling.blocks import Place, Tower
from engines.profiling.calls import Call, CallLimits, Step, repeat_call
from engines.profiling.products import torch_flop
from engines.profiling.profilers import ProfilerOptions, embed_items
from engines.profiling.torch_modules import watch_modules
from engines.pytorch.engine import TorchEngine

PYTHON = "Python between operators"  # of the model's code, the profiler's own among it
_RANGE = "module:"  # begins the names of the ranges that the hooks mark
_start = attrgetter("time_range.start")  # microseconds


class TorchProfiler:
    """A tower of modules, each of which marks its time while the profiler runs."""

    runtime_function = nn.Module.__call__

    def __init__(self, engine: TorchEngine, tower: Tower) -> None:
        """Take a loaded engine."""
        self.engine = engine
        self._tower: Tower = tower

    def record(self, items: Sequence[Any], limits: CallLimits, trace: Path | None = None) -> list[Call]:
        """Call the tower under the profiler; see `TowerProfiler`.

        A call's time is the tower's: stacking the batch and normalising the rows are not in it.
        """
        ranges = _Ranges()
        watched = watch_modules(
            getattr(self.engine.towers, self._tower), self.engine.spec.family, ranges.enter, ranges.leave
        )
        with watched, profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
            repeat_call(partial(embed_items, self.engine, self._tower, items), limits)
        if trace is not None:
            profiler.export_chrome_trace(str(trace))
        return read_calls(profiler.events() or [])[limits.num_warmup :]


def load(spec: ModelSpec, engine: str, tower: Tower, options: ProfilerOptions) -> TorchProfiler:
    """Load an engine; see `load_profiler`."""
    loaded = load_engine(spec, engine, EngineOptions(num_threads=options.num_threads, gated=False))
    assert isinstance(loaded, TorchEngine)
    return TorchProfiler(loaded, tower)


def read_calls(events: Sequence[Any]) -> list[Call]:
    """Return the calls among a profile's events, torch's `FunctionEvent`s, in the order of time.

    Each operator's own time belongs to the innermost module that was running. What such a module took
    beside its operators is Python's, so that the steps of a call add up to the call.
    """
    towers = [event for event in events if event.name == _RANGE and event.cpu_parent is None]
    towers.sort(key=_start)
    return [Call(_ms(tower), tuple(_steps(tower, ""))) for tower in towers]


def _steps(event: Any, module: str) -> Iterator[Step]:
    """Yield an event's own time and then its children's, or a module's gaps between its children."""
    children = sorted(event.cpu_children, key=_start)
    if not event.name.startswith(_RANGE):
        flop = torch_flop(event.name, event.input_shapes, event.concrete_inputs)
        yield Step(Place(module, event.name), _ms(event) - sum(map(_ms, children)), flop)
        for child in children:
            yield from _steps(child, module)
        return
    module, now_us = event.name.removeprefix(_RANGE), _start(event)
    for child in children:
        yield Step(Place(module, PYTHON), (_start(child) - now_us) / 1000)
        yield from _steps(child, module)
        now_us = child.time_range.end
    yield Step(Place(module, PYTHON), (event.time_range.end - now_us) / 1000)


def _ms(event: Any) -> float:
    return float(event.time_range.end - event.time_range.start) / 1000


class _Ranges:
    """Marks modules in the profile, from their beginning to their end."""

    def __init__(self) -> None:
        self._open: list[record_function] = []

    def enter(self, path: str) -> None:
        self._open.append(record_function(f"{_RANGE}{path}"))
        self._open[-1].__enter__()

    def leave(self, path: str) -> None:
        self._open.pop().__exit__(None, None, None)
