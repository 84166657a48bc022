"""What the tab of engines does: show what is known, say how long measuring takes, and measure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import gradio as gr

from app.rights import page_may
from app.services import Services
from app.ui.compare_engines_boards import Board, Boards, measured_board
from app.ui.compare_engines_cards import render_engines, render_pages, render_status
from app.ui.compare_engines_progress import PageRun, end_sentence, progress_sentence
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
from use_cases.comparison.engines import EnginePlan, in_order, measure_engines
from use_cases.comparison.provenance import measured_here
from use_cases.wording import counted

VIEW = "compare-engines"  # the value of "view" in a link
FEW, SOME, ALL_PICTURES = PICTURES = 32, 100, 0  # the choices of how many held-out pictures; 0 for all
_STEM = "engines"
_PROBE_S = 60.0  # a busy machine may be idle then, and the other way round
_LOOK_S = 1.0  # between two looks at whether a run that waits was stopped
_MAX_RUN_S = 3600.0  # all engines of a base-size model, most of them built for the first time
_NOTHING_RUNS = "There is nothing to stop: this page measures nothing now."
_NUM_SHOWN = 4 + len(FORMATS)  # chart, source, table, other records and the downloads


class EngineHandlers:
    """The handlers of the tab's events; one measurement runs at a time, as two would disturb each other.

    A measurement keeps the machine busy for minutes, so those that begin one look at the request first, as
    for changes to galleries: see `PageRights` and SIGLIP_ALLOW_MEASURING.
    """

    def __init__(self, services: Services, run: Run = run_in_process, max_run_s: float = _MAX_RUN_S) -> None:
        self._services, self._run, self._max_run_s = services, run, max_run_s
        self._boards = Boards(services)
        self._runs: list[PageRun] = []  # of all pages, those that wait for their turn as well
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

    @shows_errors
    async def on_look(self, model: Any, engines: Any, pictures: Any, request: gr.Request) -> tuple[str, Any]:
        """Return the same, and let the page's timer look again while the model is being loaded."""
        waits = await self._waits(as_text("model", model), request)  # first: it may be loaded meanwhile
        return await self.on_estimate(model, engines, pictures, request), gr.update(active=waits)

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
        run = PageRun(request.session_hash, plan)
        must_wait = bool(self._runs) or self._services.measuring.locked()
        self._runs.append(run)
        try:
            if must_wait:
                yield self._said("Another measurement runs; this one begins after it.")
            async with self._turn(run), aclosing(self._steps(run, progress)) as steps:
                async for shown in steps:
                    yield shown
        finally:
            self._runs.remove(run)
            if run.rows:  # however it ended
                board = measured_board(plan, run.rows, run.facts)
                self._boards.keep(board, whole=len(run.rows) == len(in_order(plan.engines)))
        said = end_sentence(plan, len(run.rows), run.elapsed_s, stopped=run.is_stopped)
        if not run.rows:
            yield self._said(said)
            return
        yield render_status([said]), *await self._shown(board)

    async def on_stop(self, request: gr.Request) -> Any:
        """Let what this page measures end, which says so itself then; else say that there is nothing."""
        runs = [run for run in self._runs if run.page == request.session_hash]
        for run in runs:
            run.is_stopped = True
        return gr.skip() if runs else render_status([_NOTHING_RUNS])

    @asynccontextmanager
    async def _turn(self, run: PageRun) -> AsyncIterator[None]:
        """Keep others from measuring; a run that is stopped does not wait until they have ended."""
        acquiring = asyncio.ensure_future(self._services.measuring.acquire())
        try:
            while not (await asyncio.wait({acquiring}, timeout=_LOOK_S))[0] and not run.is_stopped:
                pass
            yield
        finally:
            if not acquiring.done():
                acquiring.cancel()
            elif not acquiring.cancelled():
                self._services.measuring.release()

    async def _steps(self, run: PageRun, progress: gr.Progress) -> AsyncGenerator[tuple[Any, ...], None]:
        """Measure one engine after the other, and yield what there is after each."""
        if run.is_stopped:
            return
        run.start_s = time.monotonic()
        run.facts = await asyncio.to_thread(measured_here)
        row_s, total = 0.0, len(in_order(run.plan.engines))
        with self._services.metrics.request("page", "compare_engines"):
            async with aclosing(ticking(measure_engines(run.plan, self._run))) as rows:
                async for row in rows:
                    if row is not None:
                        run.rows.append(row)
                        row_s = run.elapsed_s
                    said = progress_sentence(run.plan, len(run.rows), row_s, run.elapsed_s)
                    progress((len(run.rows), total), desc=said, unit="engines")
                    if row is not None:
                        board = measured_board(run.plan, run.rows, run.facts)
                        yield render_status([said]), *await self._shown(board, final=False)
                    if run.is_stopped or run.elapsed_s > self._max_run_s:
                        return

    def _may_measure(self, request: gr.Request) -> bool:
        return self._services.may_measure and page_may(request.request, "measuring")

    async def _waits(self, model: str, request: gr.Request) -> bool:
        """Tell whether an estimate can be made soon, and not now."""
        if model not in self._services.models or not self._may_measure(request):
            return False
        try:
            keys = await self._services.not_ready([model])
        except EngineError:  # the estimate says why
            return False
        return any(map(self._services.pool.is_loading, keys))

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
        what = f"{counted(len(names), 'engine')}, {counted(count, 'held-out picture')}"
        sentences = [f"Takes about {seconds:.0f} s: {what}."]
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
