"""What the tab of engines does: show what is known, say how long measuring takes, and measure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import gradio as gr

from app.rights import page_may
from app.services import Services
from app.ui.compare_engines_boards import Board, Boards, measured_board
from app.ui.compare_engines_cards import render_engines, render_pages, render_status
from app.ui.compare_engines_progress import end_sentence, progress_sentence
from app.ui.compare_links import first, make_link, read_link, render_link
from app.ui.compare_many_files import FORMATS, no_downloads, offer_downloads
from app.ui.compare_plots import engine_plot
from app.ui.errors import shows_errors, streams_errors
from app.ui.ticking import ticking
from app.ui.uploads import as_names, as_text
from engines.errors import EngineError, InvalidInputError
from engines.factory import ENGINES, check_engines
from engines.worker.shared import available_cores
from use_cases.background_workers import Run, run_in_process
from use_cases.comparison.engine_estimate import estimate_s, not_built, probe_ms
from use_cases.comparison.engine_quality import held_out_gallery
from use_cases.comparison.engine_tables import engines_csv, engines_json, engines_markdown
from use_cases.comparison.engines import EnginePlan, EngineRow, in_order, measure_engines
from use_cases.comparison.provenance import measured_here

VIEW = "compare-engines"  # the value of "view" in a link
FEW, SOME, ALL_PICTURES = PICTURES = 32, 100, 0  # the choices of how many held-out pictures; 0 for all
_STEM = "engines"
_PROBE_S = 60.0  # a busy machine may be idle then, and the other way round
_MAX_RUN_S = 3600.0  # all engines of a base-size model, most of them built for the first time
_NUM_SHOWN = 4 + len(FORMATS)  # chart, source, table, other records and the downloads


class EngineHandlers:
    """The handlers of the tab's events; one measurement runs at a time, as two would disturb each other.

    A measurement keeps the machine busy for minutes, so those that begin one look at the request first, as
    for changes to galleries: see `PageRights` and SIGLIP_ALLOW_MEASURING.
    """

    def __init__(self, services: Services, run: Run = run_in_process, max_run_s: float = _MAX_RUN_S) -> None:
        self._services, self._run, self._max_run_s = services, run, max_run_s
        self._boards = Boards(services)
        self._probes: dict[str, tuple[float, tuple[float, float]]] = {}  # when, and ms of image and text

    @property
    def models(self) -> list[str]:
        """Return the offered models, then others that a committed record has."""
        return self._boards.models

    @shows_errors
    async def on_may_measure(self, request: gr.Request) -> tuple[Any, Any]:
        """Show what measures, or why it cannot be done here."""
        may_measure = self._may_measure(request)
        return gr.update(visible=may_measure), gr.update(visible=not may_measure)

    @shows_errors
    async def on_show(self, model: Any) -> tuple[Any, ...]:
        """Return chart, source, table, other records and downloads of what is known about a model."""
        return await self._shown(await self._boards.board(as_text("model", model)))

    @shows_errors
    async def on_source(self, model: Any, source: Any) -> tuple[Any, ...]:
        """Return the same of the source that a visitor has chosen."""
        return await self._shown(await self._boards.board(as_text("model", model), as_text("source", source)))

    @shows_errors
    async def on_estimate(self, model: Any, engines: Any, pictures: Any, request: gr.Request) -> str:
        """Return how long measuring would take, and a link to the inputs, as HTML."""
        model = as_text("model", model)
        if model not in self._services.models:
            return render_status(
                [
                    f"This server does not offer {model[:80]}, so it cannot be measured here; SIGLIP_MODELS"
                    " names what is offered."
                ]
            )
        try:
            plan = self._plan(model, engines, pictures)
            chosen = [("engine", engine) for engine in as_names("engines", engines)]
            link = make_link(VIEW, [("model", model), *chosen, ("pictures", str(pictures))])
            sentences = await self._estimate(plan) if self._may_measure(request) else []
            return render_status(sentences) + render_link(link)
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
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by this default
    ) -> AsyncGenerator[tuple[Any, ...], None]:
        """Measure one engine after the other; yield status, chart, source, table, records and downloads."""
        if not self._may_measure(request):
            raise InvalidInputError("This page may not measure engines; the command line can.")
        model = as_text("model", model)
        if model not in self._services.models:
            raise InvalidInputError(
                f"Choose one of the models {', '.join(self._services.models)} to measure."
            )
        plan = self._plan(model, engines, pictures)
        if self._services.measuring.locked():
            yield self._said("Another measurement runs; this one begins after it.")
        async with self._services.measuring:
            start_s = time.monotonic()
            facts = await asyncio.to_thread(measured_here)
            rows: list[EngineRow] = []
            row_s = elapsed_s = 0.0  # when the last row was done, and now
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
                            board = measured_board(plan, rows, facts)
                            yield render_status([said]), *await self._shown(board, final=False)
                        if elapsed_s > self._max_run_s:
                            break
            said = end_sentence(plan, len(rows), elapsed_s)
            if not rows:
                yield self._said(said)
                return
            board = measured_board(plan, rows, facts)
            self._boards.keep(board)
            yield render_status([said]), *await self._shown(board)

    def _may_measure(self, request: gr.Request) -> bool:
        return self._services.may_measure and page_may(request.request, "measuring")

    def _said(self, sentence: str) -> tuple[Any, ...]:
        """Return a sentence for the status; what else is shown stays."""
        return render_status([sentence]), *[gr.skip()] * _NUM_SHOWN

    def _plan(self, model: str, engines: Any, pictures: Any) -> EnginePlan:
        chosen = as_names("engines", engines) or list(ENGINES)
        check_engines(chosen)
        if type(pictures) is not int or pictures not in PICTURES:  # True is an int, too
            raise InvalidInputError(
                f"The number of pictures must be {FEW}, {SOME}, or {ALL_PICTURES} for all of them."
            )
        return EnginePlan(
            model=model,
            engines=tuple(chosen),
            held_out=held_out_gallery(None if pictures == ALL_PICTURES else pictures),
            num_threads=available_cores(),
            cache_dir=self._services.pool.options.folder,
            allow_pickled_weights=self._services.pool.options.allow_pickled_weights,
        )

    async def _estimate(self, plan: EnginePlan) -> list[str]:
        """Return sentences on how long measuring would take."""
        asked_s, probe = self._probes.get(plan.model, (-_PROBE_S, (0.0, 0.0)))
        if time.monotonic() - asked_s > _PROBE_S:
            if await self._services.not_ready([plan.model]):
                return [f"How long it takes can be told once {plan.model} is loaded, which it is not now."]
            probe = await probe_ms(await self._services.engine(plan.model))
            self._probes[plan.model] = time.monotonic(), probe
        spec = await self._services.pool.spec(plan.model)
        names = in_order(plan.engines)
        seconds, count = estimate_s(spec, plan.held_out, len(names), *probe), len(plan.held_out.pictures)
        sentences = [f"Takes about {seconds:.0f} s: {len(names)} engines, {count} held-out pictures."]
        if unbuilt := await asyncio.to_thread(not_built, spec, names, plan.cache_dir):
            sentences.append(f"Minutes more to build what was never used here: {', '.join(unbuilt)}.")
        return sentences

    async def _shown(self, board: Board, *, final: bool = True) -> tuple[Any, ...]:
        """Return what is shown of a board; one that is not final cannot be left or kept yet."""
        table = board.table
        sources = self._boards.sources(table.model)
        choices = gr.update(choices=sources, value=None, visible=False)
        if final and len(sources) > 1:
            choices = gr.update(choices=sources, value=board.source, visible=True)
        downloads = no_downloads()
        if final and board.facts:
            downloads = await asyncio.to_thread(
                offer_downloads,
                _STEM,
                {
                    "CSV": engines_csv(table),
                    "JSON": engines_json(table, board.facts),
                    "Markdown": engines_markdown(table),
                },
            )
        other = render_pages(table.model, self._boards.pages(table.model))
        return engine_plot(table.rows), choices, render_engines(table, board.problems), other, *downloads
