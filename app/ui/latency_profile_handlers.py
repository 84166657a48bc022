"""What the profiler of the latency tab does: profile engines beside the server, and show what they told."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gradio as gr

from app.rights import page_may
from app.services import Services
from app.ui.errors import streams_errors
from app.ui.files import save_file
from app.ui.latency_cards import render_sentence
from app.ui.latency_profile_cards import profile_figures, render_profile
from app.ui.sent_values import as_number
from app.ui.ticking import ticking
from app.ui.uploads import as_names, as_text
from engines.calibration import held_out_set
from engines.errors import EngineError, InvalidInputError
from engines.factory import ENGINES
from engines.profiling.blocks import TOWERS
from engines.profiling.profilers import has_profiler
from engines.worker.shared import available_cores
from use_cases.background_workers import Run, run_in_process
from use_cases.profiling.beside import profile_beside
from use_cases.profiling.results import Profile
from use_cases.profiling.run import ProfilePlan

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
PROFILED = tuple(filter(has_profiler, ENGINES))
_MAX_RUN_S = 1800.0  # of all engines, most of them built for the first time
_SAYINGS = {
    "profile_peak": "Measuring this machine's arithmetic",
    "profile": "Profiling {engine}, which is built first if that was never done",
    "profile_flops": "Counting the model's arithmetic",
}
_NUM_OTHER_JOBS = 3  # beside one for each engine: the machine's peak, twice, and the model's arithmetic
_NUM_SHOWN = 3  # beside the status: charts, tables, files


class ProfileHandlers:
    """The handlers of the profiler's events; it waits for whatever else measures."""

    def __init__(self, services: Services, run: Run = run_in_process, max_run_s: float = _MAX_RUN_S) -> None:
        self._services, self._run, self._max_run_s = services, run, max_run_s

    @streams_errors
    async def on_profile(
        self, model: Any, engines: Any, tower: Any, batch_size: Any, request: gr.Request
    ) -> AsyncGenerator[tuple[Any, ...], None]:
        """Profile; yield how it goes every second, at last the status, charts, tables and files."""
        if not (self._services.may_measure and page_may(request.request, "measuring")):
            raise InvalidInputError(
                "Visitors may not profile here, since that keeps the server busy; see SIGLIP_ALLOW_MEASURING."
            )
        plan = self._plan(as_text("model", model), as_names("engines", engines), tower, batch_size)
        if self._services.measuring.locked():
            yield _said("Something else is measured; this begins after it.")
        async with self._services.measuring:
            start_s = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                plan = replace(plan, trace=Path(folder) / "trace.json")
                try:
                    async with aclosing(self._steps(plan, start_s)) as steps:
                        async for shown in steps:
                            yield shown
                except EngineError as error:  # else the page would wait for ever
                    yield _said(str(error))
                    raise

    async def _steps(self, plan: ProfilePlan, start_s: float) -> AsyncGenerator[tuple[Any, ...], None]:
        jobs: list[dict[str, Any]] = []
        async with aclosing(ticking(self._profiles(plan, jobs))) as profiles:
            async for profile in profiles:
                elapsed_s = time.monotonic() - start_s
                if profile is not None:
                    files = await asyncio.to_thread(_save_files, plan, profile)
                    said = f"Profiled {', '.join(plan.engines)} in {elapsed_s:.0f} s."
                    shown = profile_figures(profile), render_profile(profile)
                    yield render_sentence(said), *shown, gr.update(value=files, visible=True)
                elif elapsed_s > self._max_run_s:
                    raise InvalidInputError(
                        f"Ended after {elapsed_s:.0f} s, longer than a profile may take; choose fewer"
                        " engines."
                    )
                else:
                    yield _said(_progress(plan, jobs, elapsed_s))

    def on_stop(self) -> str:
        """Say that a profile was stopped."""
        return render_sentence("Stopped; what was profiled before stays below.")

    async def _profiles(self, plan: ProfilePlan, jobs: list[dict[str, Any]]) -> AsyncGenerator[Profile, None]:
        folder = self._services.pool.options.folder
        yield await profile_beside(plan, held_out_set(), self._run, folder, jobs.append)

    def _plan(self, model: str, engines: list[str], tower: Any, batch_size: Any) -> ProfilePlan:
        if model not in self._services.models:
            raise InvalidInputError(
                f"Choose one of the models {', '.join(self._services.models)} to profile."
            )
        if not engines or any(engine not in PROFILED for engine in engines):
            raise InvalidInputError(f"Choose one or more of the engines {', '.join(PROFILED)} to profile.")
        if tower not in TOWERS:
            raise InvalidInputError(f"The tower must be one of {', '.join(TOWERS)}.")
        size = as_number("batch size", batch_size)
        if size not in BATCH_SIZES:
            raise InvalidInputError(f"The batch size must be one of {', '.join(map(str, BATCH_SIZES))}.")
        return ProfilePlan(
            model=model,
            engines=tuple(dict.fromkeys(engines)),
            tower=tower,
            batch_size=int(size),
            num_threads=available_cores(),
            allow_pickled_weights=self._services.pool.options.allow_pickled_weights,
        )


def _said(sentence: str) -> tuple[Any, ...]:
    """Return a sentence for the status; what else is shown stays."""
    return render_sentence(sentence), *[gr.skip()] * _NUM_SHOWN


def _progress(plan: ProfilePlan, jobs: list[dict[str, Any]], elapsed_s: float) -> str:
    """Say what is done now.

    Args:
        plan: of the profile.
        jobs: that have begun, the last one runs.
        elapsed_s: since the start.
    """
    if not jobs:
        return "Beginning …"
    said = _SAYINGS[jobs[-1]["task"]].format_map(jobs[-1])
    return f"{said}; step {len(jobs)} of {len(plan.engines) + _NUM_OTHER_JOBS}, {elapsed_s:.0f} s so far."


def _save_files(plan: ProfilePlan, profile: Profile) -> list[str]:
    """Keep the profile and the engines' Chrome traces for downloading; return the paths."""
    files = [save_file(json.dumps(asdict(profile), allow_nan=False).encode("utf-8"), "profile.json")]
    for engine in plan.engines:
        if (path := plan.trace_of(engine)) is not None:
            files.append(save_file(path.read_bytes(), f"{engine}.trace.json"))
    return files
