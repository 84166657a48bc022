"""What the tab of engines does: show what is known, say how long measuring takes, and measure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.services import Services
from app.ui.compare_engines_cards import render_engines, render_pages, render_status
from app.ui.compare_engines_progress import progress_sentence, ticking
from app.ui.compare_links import first, make_link, read_link, render_link
from app.ui.compare_many_files import FORMATS, no_downloads, offer_downloads
from app.ui.compare_plots import engine_plot
from app.ui.errors import shows_errors, streams_errors
from app.ui.uploads import as_names, as_text
from engines.checkpoints.random_weights import PREFIX
from engines.errors import EngineError, InvalidInputError
from engines.factory import ENGINES
from engines.loading import EngineKey
from engines.worker.shared import available_cores
from use_cases.comparison.badge import judge
from use_cases.comparison.engine_estimate import estimate_s, not_built, probe_ms
from use_cases.comparison.engine_process import run_in_process
from use_cases.comparison.engine_quality import held_out_gallery
from use_cases.comparison.engine_records import (
    StoredRecord,
    find_record,
    model_pages,
    origin,
    read_records,
    recorded_models,
    recorded_rows,
)
from use_cases.comparison.engine_tables import engines_csv, engines_json, engines_markdown
from use_cases.comparison.engines import EnginePlan, EngineRow, Run, closeness, in_order, measure_engines
from use_cases.comparison.provenance import measured_here

VIEW = "compare-engines"  # the value of "view" in a link
FEW, SOME, ALL_PICTURES = PICTURES = 32, 100, 0  # the choices of how many held-out pictures; 0 for all
_STEM = "engines"
_PROBE_S = 60.0  # a busy machine may be idle then, and the other way round
_NUM_SHOWN = 3 + len(FORMATS)  # chart, table, other records and the downloads


@dataclass(frozen=True, slots=True)
class _Board:
    """What is known about a model's engines, and where it is from."""

    rows: list[EngineRow]
    sentence: str  # its origin
    facts: dict[str, Any]  # likewise, JSON values; empty where there is nothing to keep
    problems: list[str]


class EngineHandlers:
    """The handlers of the tab's events; one measurement runs at a time, as two would disturb each other."""

    def __init__(self, services: Services, run: Run = run_in_process) -> None:
        self._services, self._run = services, run
        self._measuring = asyncio.Lock()
        self._measured: dict[str, tuple[list[EngineRow], dict[str, Any]]] = {}  # by model, in this process
        self._probes: dict[str, tuple[float, tuple[float, float]]] = {}  # when, and ms of image and text
        self._records, self._problems = read_records()

    @property
    def models(self) -> list[str]:
        """Return the offered models, then others that a committed record has."""
        return list(dict.fromkeys([*self._services.models, *recorded_models(self._records)]))

    @shows_errors
    async def on_show(self, model: Any) -> tuple[Any, ...]:
        """Return the chart, the table, the other records and the downloads of what is known about a model."""
        model = as_text("model", model)
        return await self._shown(model, await self._board(model))

    @shows_errors
    async def on_estimate(self, model: Any, engines: Any, pictures: Any) -> str:
        """Return how long measuring would take, as HTML."""
        model = as_text("model", model)
        if model not in self._services.models:
            return render_status(
                [
                    f"This server does not offer {model[:80]}, so it cannot be measured here; SIGLIP_MODELS"
                    " names what is offered."
                ]
            )
        plan = self._plan(model, engines, pictures)
        try:
            chosen = [("engine", engine) for engine in as_names("engines", engines)]
            link = make_link(VIEW, [("model", model), *chosen, ("pictures", str(pictures))])
            return render_status(await self._estimate(plan)) + render_link(link)
        except EngineError as error:  # nobody asked for it: no toast, but the sentence in its place
            return render_status([str(error)])

    def on_link(self, request: gr.Request) -> tuple[Any, ...]:
        """Return the tabs and the form's values that a link wants, or leave all as it is."""
        query = read_link(request, VIEW)
        if query is None:
            return (gr.skip(),) * 5
        model, pictures = first(query, "model"), first(query, "pictures")
        return (
            gr.Tabs(selected="compare"),
            gr.Tabs(selected=VIEW),
            model if model in self.models else gr.skip(),
            [engine for engine in query.get("engine", ()) if engine in ENGINES],
            int(pictures) if pictures in map(str, PICTURES) else gr.skip(),
        )

    @streams_errors
    async def on_run(
        self,
        model: Any,
        engines: Any,
        pictures: Any,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> AsyncIterator[tuple[Any, ...]]:
        """Measure one engine after the other; yield status, chart, table, records and downloads."""
        model = as_text("model", model)
        if model not in self._services.models:
            raise InvalidInputError(
                f"Choose one of the models {', '.join(self._services.models)} to measure."
            )
        plan = self._plan(model, engines, pictures)
        if self._measuring.locked():
            yield self._said("Another measurement runs; this one begins after it.")
        async with self._measuring:
            start_s = time.monotonic()
            facts = await asyncio.to_thread(measured_here)
            rows: list[EngineRow] = []
            row_s = 0.0  # when the last row was done
            total = len(in_order(plan.engines))
            with self._services.metrics.request("page", "compare_engines"):
                async with aclosing(ticking(measure_engines(plan, self._run))) as steps:
                    async for row in steps:
                        elapsed_s = time.monotonic() - start_s
                        if row is not None:
                            rows.append(row)
                            row_s = elapsed_s
                        said = progress_sentence(plan, len(rows), row_s, elapsed_s)
                        progress((len(rows), total), desc=said, unit="engines")
                        if row is not None:
                            shown = await self._shown(
                                model, self._live(rows, facts), final=len(rows) == total
                            )
                            yield render_status([said]), *shown
            self._measured[model] = rows, facts
            yield self._said(f"Measured {total} engines in {time.monotonic() - start_s:.0f} s.")

    def _said(self, sentence: str) -> tuple[Any, ...]:
        """Return a sentence for the status; what else is shown stays."""
        return render_status([sentence]), *[gr.skip()] * _NUM_SHOWN

    def _plan(self, model: str, engines: Any, pictures: Any) -> EnginePlan:
        chosen = as_names("engines", engines) or list(ENGINES)
        if unknown := [engine for engine in chosen if engine not in ENGINES]:
            raise InvalidInputError(
                f"Unknown engine {unknown[0][:80]!r}; the engines are {', '.join(ENGINES)}."
            )
        if not isinstance(pictures, int) or pictures < 0:
            raise InvalidInputError("The number of pictures must be a whole number.")
        return EnginePlan(
            model=model,
            engines=tuple(chosen),
            held_out=held_out_gallery(None if pictures == ALL_PICTURES else pictures),
            num_threads=available_cores(),
            cache_dir=self._services.pool.options.folder,
        )

    async def _estimate(self, plan: EnginePlan) -> list[str]:
        """Return sentences on how long measuring would take."""
        asked_s, probe = self._probes.get(plan.model, (-_PROBE_S, (0.0, 0.0)))
        if time.monotonic() - asked_s > _PROBE_S:
            if await self._services.not_ready([plan.model]):
                return ["How long it takes can be told when the model is loaded; it is being loaded."]
            probe = await probe_ms(await self._services.engine(plan.model))
            self._probes[plan.model] = time.monotonic(), probe
        spec = await self._services.pool.spec(plan.model)
        names = in_order(plan.engines)
        seconds, count = estimate_s(spec, plan.held_out, len(names), *probe), len(plan.held_out.pictures)
        sentences = [f"Takes about {seconds:.0f} s: {len(names)} engines, {count} held-out pictures."]
        if unbuilt := await asyncio.to_thread(not_built, spec, names, plan.cache_dir):
            sentences.append(f"Minutes more to build what was never used here: {', '.join(unbuilt)}.")
        return sentences

    async def _board(self, model: str) -> _Board:
        if model in self._measured:
            return self._live(*self._measured[model])
        if record := find_record(self._records, model):
            return _recorded(record, model, self._problems)
        if model not in self._services.models:
            raise InvalidInputError(f"Nothing is known about the model {model[:80]!r}.")
        return await self._gated(model)

    def _live(self, rows: list[EngineRow], facts: dict[str, Any]) -> _Board:
        return _Board(rows, f"{origin(facts)} One process an engine, on this server.", facts, [])

    async def _gated(self, model: str) -> _Board:
        """Return what the quality gate has kept on this machine: badges without times."""
        keys = [EngineKey(model, engine) for engine in ENGINES]
        rows = []
        for key in keys:
            try:
                quality = await self._services.pool.quality(key)
            except EngineError as error:  # such as a damaged checkpoint: its sentence stands in the row
                rows.append(
                    EngineRow(engine=key.engine, badge=judge(key.engine, None, str(error)), reason=str(error))
                )
                continue
            rows.append(EngineRow(engine=key.engine, badge=judge(key.engine, quality), **closeness(quality)))
        recorded = ", ".join(recorded_models(self._records)) or "none"
        sentence = (
            f"No committed record has times of {model}, and it was not measured on this server yet; press"
            f" “Run it here”. Recorded models: {recorded}. Badges are of the quality gate on this machine."
        )
        return _Board(rows, sentence, {}, list(self._problems))

    async def _shown(self, model: str, board: _Board, *, final: bool = True) -> tuple[Any, ...]:
        plot = engine_plot(board.rows)
        other = render_pages(model, model_pages(self._records, model))
        downloads = no_downloads()
        if final and board.facts:
            downloads = await asyncio.to_thread(
                offer_downloads,
                _STEM,
                {
                    "CSV": engines_csv(board.rows, board.sentence),
                    "JSON": engines_json(board.rows, board.facts),
                    "Markdown": engines_markdown(board.rows, board.sentence),
                },
            )
        return plot, render_engines(board.rows, board.sentence, board.problems), other, *downloads


def _recorded(record: StoredRecord, model: str, problems: Sequence[str]) -> _Board:
    sentence = f"Committed record {record.name}. {origin(record.content)}"
    if model.startswith(PREFIX):
        sentence += (
            " The weights are random: right for speed, memory and size, while the cosines only rank number"
            " formats."
        )
    facts = {name: value for name, value in record.content.items() if name != "results"}
    return _Board(recorded_rows(record, model), sentence, facts, list(problems))
