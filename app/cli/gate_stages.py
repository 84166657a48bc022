"""What the time gate measures: one server's life, from its import to its end, by REST and gradio_client."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import psutil

from app.cli.own_server import OwnServer, server_process
from app.settings import ENV_FILE
from engines.artifacts.listing import list_artifacts
from engines.gallery import gallery
from engines.models import bundled_models
from use_cases.gate.budget import Quantity
from use_cases.gate.kernel import kernel_ms
from use_cases.load.connection import LoadTestError
from use_cases.load.inputs import NewImages

# Heavy packages that only the engines that need them may import.
_HEAVY = ("torch", "torchvision", "transformers", "bitsandbytes", "accelerate", "open_clip")
MODEL = "siglit-mini"  # that is asked on each engine
_LABELS = ["a cat", "a dog", "a house", "a boat", "a tree"]
PARTS = ("import", "rest", "client", "engines")
# What these are depends on the parts that came before them, which have to be as in the whole gate: an import
# leaves the app's files in memory, requests leave theirs in the server's memory and for its end.
DEPEND_ON: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "start until ready": ("import",),
        "peak RSS of the server": ("rest", "client"),
        "stop": ("rest", "client", "engines"),
    }
)
_IMPORTS = 3
_REQUESTS = 9
_INDEXED = 8  # images
_GALLERY = "gate"
_WAIT_S = 60.0
_LOOK_S = 0.01


class Stopwatch:
    """Times stages, and measures the reference kernel before and after each of them."""

    def __init__(self) -> None:
        """Begin; what comes first, such as starting threads, is no part of the kernel's time."""
        kernel_ms()
        self._kernels_ms: list[float] = []
        self._stages_ms: dict[str, float] = {}
        self._bytes: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block once."""
        self._kernels_ms.append(kernel_ms())
        start_s = time.perf_counter()
        yield
        self._stages_ms[name] = (time.perf_counter() - start_s) * 1000
        self._kernels_ms.append(kernel_ms())

    def repeat(self, name: str, work: Callable[[], object], times: int = _REQUESTS) -> None:
        """Do some work several times and keep the median."""
        runs_ms = []
        for _ in range(times):
            self._kernels_ms.append(kernel_ms())
            start_s = time.perf_counter()
            work()
            runs_ms.append((time.perf_counter() - start_s) * 1000)
        self._stages_ms[name] = statistics.median(runs_ms)

    def size(self, name: str, num_bytes: float) -> None:
        """Note a size."""
        self._bytes[name] = num_bytes

    def quantities(self) -> list[Quantity]:
        """Return all times, beside the kernel's median over the run, which a moment's noise hardly moves."""
        kernel = statistics.median(self._kernels_ms)
        times = [Quantity(name, "kernels", ms / kernel, ms) for name, ms in self._stages_ms.items()]
        return times + [Quantity(name, "MB", size / 1e6) for name, size in self._bytes.items()]


def measure_stages(
    parts: Sequence[str], cache_dir: Path, engines: Sequence[str], script: Path | None = None
) -> list[Quantity]:
    """Return the quantities of a fresh server with the bundled pair.

    Args:
        parts: of PARTS, what to measure beside the server's start and end.
        cache_dir: where the engines were built.
        engines: of MODEL, whose answers are timed, and whose files are measured.
        script: that starts the server; the project's own when None.

    Raises:
        LoadTestError: when the server does not start, answer or stop as it should, or the app imports what
            it must not.
    """
    watch = Stopwatch()
    if "import" in parts:
        watch.repeat("import the app", _import_app, _IMPORTS)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as server_stack:
        settings = {
            ENV_FILE: os.devnull,
            "SIGLIP_MODELS": ",".join(bundled_models()),
            "SIGLIP_CACHE_DIR": str(cache_dir),
            "SIGLIP_DEMO_GALLERY": "false",
            "SIGLIP_INDEX_DIR": folder,
            "SIGLIP_TEXT_CACHE": str(Path(folder) / "texts"),
        }
        with watch.stage("start until ready"):
            server = server_stack.enter_context(server_process(settings, script, inherits=False))
            _wait_until_ready(server)
        if "rest" in parts:
            _measure_rest(watch, server)
        elif "client" in parts:  # which searches what the REST part would have indexed
            with httpx.Client(base_url=server.address, timeout=_WAIT_S) as api:
                _fill_gallery(api)
        if "client" in parts:
            _measure_client(watch, server, Path(folder))
        watch.size("peak RSS of the server", _peak_rss(server))
        if "engines" in parts:
            _measure_engines(watch, server, engines)
            for engine in engines:
                watch.size(f"files of {engine}", _engine_bytes(cache_dir, engine))
        with watch.stage("stop"):
            server_stack.close()
    return watch.quantities()


def _import_app() -> None:
    code = f"import sys, app.main, app.ui.demo; print(*set({_HEAVY!r}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadTestError(f"The app cannot be imported: {done.stderr.strip().splitlines()[-1]}")
    if done.stdout.strip():
        raise LoadTestError(f"Importing the app imports {done.stdout.strip()}, which only engines may.")


def _wait_until_ready(server: OwnServer) -> None:
    end_s = time.monotonic() + _WAIT_S
    with httpx.Client(base_url=server.address, timeout=_WAIT_S) as api:
        while _ask(api, "GET", "/readyz").status_code != 200:
            if time.monotonic() > end_s:
                raise LoadTestError(f"The server was not ready within {_WAIT_S:.0f} s.")
            time.sleep(_LOOK_S)


def _measure_rest(watch: Stopwatch, server: OwnServer) -> None:
    images = NewImages(seed=0)
    with httpx.Client(base_url=server.address, timeout=_WAIT_S) as api:
        with watch.stage("first answer"):
            _classify(api, images)
        watch.repeat("classify over REST", partial(_classify, api, images))
        with watch.stage(f"index {_INDEXED} images"):
            _fill_gallery(api)
        texts = iter(f"a thing number {number}" for number in range(10**6))
        watch.repeat("search over REST", lambda: _search(api, next(texts)))
        watch.repeat("compare over REST", partial(_compare, api, images))


def _measure_client(watch: Stopwatch, server: OwnServer, folder: Path) -> None:
    from gradio_client.exceptions import AppError

    try:
        _ask_by_client(watch, server, folder)
    except concurrent.futures.TimeoutError:
        raise LoadTestError(f"gradio_client gets no answer within {_WAIT_S:g} s.") from None
    except (AppError, httpx.HTTPError, OSError) as error:
        raise LoadTestError(f"gradio_client gets no answer ({error}).") from None


def _ask_by_client(watch: Stopwatch, server: OwnServer, folder: Path) -> None:
    from gradio_client import Client, handle_file

    images = NewImages(seed=100)  # seeds that are near one another share pictures
    with watch.stage("connect gradio_client"):
        client = Client(server.address, verbose=False)

    def ask(**options: Any) -> None:
        client.submit(**options).result(timeout=_WAIT_S)  # predict would wait for ever

    def classify() -> None:
        path = folder / "image.jpg"
        path.write_bytes(images.jpeg())
        options: dict[str, Any] = {"template": "", "models": list(bundled_models()), "engine": ""}
        options |= {"image": handle_file(path), "labels": "\n".join(_LABELS)}
        ask(api_name="/zero_shot", **options)

    def compare() -> None:
        path = folder / "image.jpg"
        path.write_bytes(images.jpeg())
        ask(image=handle_file(path), labels="\n".join(_LABELS), api_name="/compare")

    watch.repeat("classify over gradio_client", classify)
    watch.repeat("compare over gradio_client", compare)
    texts = iter(f"something number {number}" for number in range(10**6))
    watch.repeat(
        "search over gradio_client",
        lambda: ask(text=next(texts), gallery=_GALLERY, api_name="/search"),
    )
    client.close()


def _measure_engines(watch: Stopwatch, server: OwnServer, engines: Sequence[str]) -> None:
    images = NewImages(seed=200)
    with httpx.Client(base_url=server.address, timeout=_WAIT_S) as api:
        for engine in engines:
            _classify(api, images, [MODEL], engine)  # loads it
            watch.repeat(f"classify on {engine}", partial(_classify, api, images, [MODEL], engine))


def _classify(api: httpx.Client, images: NewImages, models: Sequence[str] = (), engine: str = "") -> None:
    body = {
        "images": [images.data_uri().decode()],
        "labels": _LABELS,
        "models": list(models),
        "engine": engine,
    }
    _post(api, "/v1/classify", json=body)


def _compare(api: httpx.Client, images: NewImages) -> None:
    _post(api, "/v1/compare", json={"image": images.data_uri().decode(), "labels": _LABELS})


def _search(api: httpx.Client, text: str) -> None:
    _post(api, "/v1/search", json={"gallery": _GALLERY, "query": {"text": text}})


def _fill_gallery(api: httpx.Client) -> None:
    pictures = [image.path for image in gallery()[:_INDEXED]]
    files = [("files", (path.name, path.read_bytes())) for path in pictures]
    answer = _post(api, "/v1/index", data={"gallery": _GALLERY, "wait": "true"}, files=files)
    if answer["job"]["state"] != "done":
        raise LoadTestError(f"The gallery was not filled: {json.dumps(answer['job'])}")


def _post(api: httpx.Client, path: str, **request: Any) -> Any:
    answer = _ask(api, "POST", path, **request)
    if answer.is_error:
        raise LoadTestError(f"The server refused a request to {path}: {answer.text[:300]}")
    return answer.json()


def _ask(api: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
    try:
        return api.request(method, path, **request)
    except httpx.HTTPError as error:
        raise LoadTestError(f"The server does not answer at {path} ({error}).") from None


def _peak_rss(server: OwnServer) -> int:
    """Return the most memory that the server has had, in bytes; where only Linux tells, what it has now."""
    assert server.pid is not None
    status = Path(f"/proc/{server.pid}/status")
    if status.exists():
        peak_kib = next(line.split()[1] for line in status.read_text().splitlines() if "VmHWM" in line)
        return int(peak_kib) * 1024
    return int(psutil.Process(server.pid).memory_info().rss)


def _engine_bytes(cache_dir: Path, engine: str) -> int:
    """Return the size of an engine's files: those that were built last."""
    name = re.compile(f"{MODEL}-{engine}-[0-9a-f]+")  # others, such as of its quality, have a longer name
    built = [each for each in list_artifacts(cache_dir) if name.fullmatch(each.name)]
    return min(built, key=lambda each: each.age_s).size_bytes if built else 0
