"""What the latency tab's controls do: look, filter, reset, download, make load, change limits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

import gradio as gr

from app.rights import page_may
from app.services import Services
from app.ui.errors import shows_errors, streams_errors
from app.ui.files import save_file
from app.ui.latency_cards import render_loads, render_sentence, render_shares, render_times
from app.ui.latency_plots import latency_figures, trade_figure
from app.ui.sent_values import as_number
from app.ui.uploads import as_text
from engines.errors import EngineError, InvalidInputError
from engines.loading import EngineKey
from use_cases.images import read_image
from use_cases.load.inputs import NewImages
from use_cases.load.inside import InsideLoad, make_load
from use_cases.telemetry.downloads import to_chrome_trace, to_csv
from use_cases.telemetry.shares import time_shares
from use_cases.telemetry.views import WHOLE, View, engines_seen, stages_seen, take_view, title_of
from use_cases.zero_shot import classify, min_image_side

ALL = "all engines"
WINDOWS = (60, 300, 900)  # seconds
MAX_CLIENTS = 64
MAX_LOAD_S = 60
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
MAX_WAIT_MS = 50
_LABELS = ("a cat", "a dog", "a car", "a flower", "food", "a building")
_MAX_LOADS = 12  # that are shown
_SEED = 7


class LatencyHandlers:
    """The handlers of the tab's events, around the server's telemetry."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._loads: deque[tuple[str, InsideLoad]] = deque(maxlen=_MAX_LOADS)  # the last one first
        self._images: NewImages | None = None

    @shows_errors
    async def on_look(self, window: Any, stage: Any, engine: Any, shown: Any) -> tuple[Any, ...]:
        """Return the charts, the tables, and the choices where they have changed."""
        telemetry = self._services.telemetry
        stage = as_text("stage", stage) or WHOLE
        view, chosen = await self._view(window, stage, engine)
        shares = await asyncio.to_thread(time_shares, view.traces)
        stages = list(dict.fromkeys([*stages_seen(telemetry), stage]))
        engines = [ALL, *(title_of(each) for each in engines_seen(telemetry))]
        if chosen and title_of(chosen) not in engines:
            engines.append(title_of(chosen))
        choices = [stages, engines]
        same = choices == shown
        return (
            latency_figures(view, stage),
            render_shares(shares),
            render_times(view, shares),
            render_sentence(self._about(chosen)),
            gr.skip() if same else gr.update(choices=stages),
            gr.skip() if same else gr.update(choices=engines),
            gr.skip() if same else choices,
        )

    @shows_errors
    async def on_csv(self, window: Any, engine: Any) -> str:
        """Return the file with the window's times, of whole requests and by stage."""
        view, _ = await self._view(window, WHOLE, engine)
        if not view.stages:
            raise InvalidInputError("There is nothing to download: no request in this window.")
        return save_file(to_csv(view.operations, view.stages).encode("utf-8"), "stages.csv")

    @shows_errors
    async def on_chrome_trace(self, window: Any, engine: Any) -> str:
        """Return the file with the window's requests."""
        view, _ = await self._view(window, WHOLE, engine)
        if not view.traces:
            raise InvalidInputError("There is nothing to download: no request in this window.")
        return save_file(await asyncio.to_thread(to_chrome_trace, view.traces), "requests.trace.json")

    @shows_errors
    async def on_reset(self, request: gr.Request) -> None:
        """Forget all times."""
        self._check_rights(request)
        self._services.telemetry.reset()

    @shows_errors
    async def on_rights(self, request: gr.Request) -> tuple[Any, ...]:
        """Show what changes the server or keeps it busy, where that is allowed."""
        return (gr.update(visible=self._may_change(request)),) * 3

    @shows_errors
    async def on_limits(self, max_batch_size: Any, max_wait_ms: Any, request: gr.Request) -> str:
        """Change the worker's limits; return what holds now."""
        self._check_rights(request)
        size, wait_ms = as_number("max_batch_size", max_batch_size), as_number("max_wait_ms", max_wait_ms)
        if size not in BATCH_SIZES or not 0 <= wait_ms <= MAX_WAIT_MS:
            raise InvalidInputError(
                f"The largest batch must be one of {', '.join(map(str, BATCH_SIZES))}, and the wait from 0 to"
                f" {MAX_WAIT_MS} ms."
            )
        self._services.pool.set_limits(max_batch_size=int(size), max_wait_ms=wait_ms)
        return render_sentence(
            f"Now at most {self._settings()}, until the server ends; SIGLIP_MAX_BATCH_SIZE and"
            " SIGLIP_MAX_WAIT_MS keep it."
        )

    @streams_errors
    async def on_load(
        self, model: Any, clients: Any, seconds: Any, request: gr.Request
    ) -> AsyncGenerator[tuple[Any, ...], None]:
        """Make load; yield that it runs, then what all loads met, and the trade between rate and time."""
        self._check_rights(request)
        number, lasts_s = as_number("clients", clients), as_number("seconds", seconds)
        if not (1 <= number <= MAX_CLIENTS and 1 <= lasts_s <= MAX_LOAD_S):
            raise InvalidInputError(
                f"Make load with 1 to {MAX_CLIENTS} clients, for 1 to {MAX_LOAD_S} seconds."
            )
        if self._services.measuring.locked():
            raise InvalidInputError("Somebody else measures at the moment; try again when that has ended.")
        async with self._services.measuring:
            settings = self._settings()
            yield (
                render_sentence(f"{number:.0f} clients ask from inside for {lasts_s:.0f} s …"),
                gr.skip(),
                gr.skip(),
            )
            try:
                asked, load = await self._load(as_text("model", model), int(number), float(lasts_s))
            except EngineError as error:  # else the page would wait for ever
                yield render_sentence(str(error)), gr.skip(), gr.skip()
                raise
            self._loads.appendleft((f"{title_of(asked)}, {settings}", load))
        said = "Done." if load.answered else "Nothing was answered in that time."
        yield render_sentence(said), render_loads(self._loads), trade_figure(self._loads)

    async def _load(self, model: str, clients: int, seconds: float) -> tuple[EngineKey, InsideLoad]:
        pooled = await self._services.engine(model)
        if self._images is None:
            self._images = await asyncio.to_thread(NewImages, _SEED)
        images, cache = self._images, self._services.pool.worker.cache
        side = min_image_side([pooled.engine.spec])

        async def ask() -> None:
            with self._services.metrics.request("load", "zero_shot"):
                image = await read_image(images.jpeg(), side, cache)
                await classify(pooled, [image], _LABELS)

        with pooled.engine.keeping():
            load = await make_load(ask, clients, seconds)
        return EngineKey(pooled.engine.spec.name, pooled.engine.engine.name), load

    async def _view(self, window: Any, stage: str, engine: Any) -> tuple[View, EngineKey | None]:
        seconds = as_number("window", window)
        if seconds not in WINDOWS:
            raise InvalidInputError(f"The window must be one of {', '.join(map(str, WINDOWS))} seconds.")
        title = as_text("engine", engine)
        chosen = None
        if title not in ("", ALL):
            model, _, name = title.partition(" on ")
            chosen = EngineKey(model, name)
        known = self._services.telemetry.copy()
        return await asyncio.to_thread(take_view, known, seconds, stage, chosen), chosen

    def _about(self, engine: EngineKey | None) -> str:
        """Return what is to be said of the engine that is looked at."""
        if engine is None:
            return ""
        whole = "Whole requests and the throughput are those of all engines."
        if engine in self._services.pool.running:
            return whole
        return f"{title_of(engine)} is not loaded now; what is shown is from before. {whole}"

    def _settings(self) -> str:
        limits = self._services.pool.worker.limits
        return f"{limits.max_batch_size} items in a call, {limits.max_wait_ms:g} ms wait"

    def _may_change(self, request: gr.Request) -> bool:
        return self._services.may_measure and page_may(request.request, "measuring")

    def _check_rights(self, request: gr.Request) -> None:
        if not self._may_change(request):
            raise InvalidInputError("Visitors may only look here; see SIGLIP_ALLOW_MEASURING.")
