"""The server under test: whether it is one, what it counts, and the bodies that it takes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from use_cases.load.connection import Connection, LoadTestError, Reply
from use_cases.load.inputs import NewImages, NewTexts

LABELS = ("a cat", "a dog", "a house", "a boat", "a tree")  # known to the server after the first request
CLASSIFY, EMBEDDINGS = "/v1/classify", "/v1/embeddings"
_LOADING_S = 600.0  # an engine may have to be built first
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a server's metrics say at one moment."""

    calls: float  # of the image tower
    items: float
    rss_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server and the model that is asked there."""

    address: str
    model: str
    engine: str | None = None  # None leaves it to the server
    api_key: str | None = None
    pid: int | None = None  # of a server on this machine, so that its work does not count as foreign

    def connect(self) -> Connection:
        """Return a new client's connection."""
        return Connection(self.address, self.api_key)

    def check(self, texts: NewTexts) -> str:
        """Ask for one embedding, waiting while the model is loaded; return the engine that made it.

        Raises:
            LoadTestError: when there is no such server or model, or it does not answer well.
        """
        with self.connect() as connection:
            reply = connection.ask_surely("GET", "/v1/models")
            if reply.status != 200:
                raise LoadTestError(f"The server at {self.address} refuses to be asked: {_problem(reply)}")
            offered = _offered(reply)
            if self.model not in offered:
                raise LoadTestError(f"Unknown model {self.model!r}; this server offers {', '.join(offered)}.")
            return self._load(connection, texts)

    def _load(self, connection: Connection, texts: NewTexts) -> str:
        end_s = time.monotonic() + _LOADING_S
        while (reply := connection.ask_surely("POST", EMBEDDINGS, self.embed(texts.take(1)))).status == 504:
            if time.monotonic() > end_s:
                raise LoadTestError(f"{self.model!r} was not loaded within {_LOADING_S:.0f} s.")
        if reply.status != 200:
            raise LoadTestError(f"The server cannot embed: {_problem(reply)}")
        return str(_member(reply, "engine"))

    def counts(self) -> Counts:
        """Read the metrics.

        Raises:
            LoadTestError: when there are none.
        """
        with self.connect() as connection:  # the server closes one that was idle
            reply = connection.ask_surely("GET", "/metrics")
        samples = parse_metrics(reply.body.decode(errors="replace"))
        images = [
            (name, value)
            for name, labels, value in samples
            if labels.get("tower") == "image" and labels.get("model") == self.model
        ]
        memory = [value for name, _, value in samples if name == "siglip_resident_memory_bytes"]
        if not memory:
            raise LoadTestError(f"The server at {self.address} has no metrics of this project.")
        return Counts(
            calls=sum(value for name, value in images if name == "siglip_batch_size_count"),
            items=sum(value for name, value in images if name == "siglip_batch_size_sum"),
            rss_bytes=memory[0],
        )

    def classify(self, images: NewImages, labels: Sequence[str] = LABELS) -> bytes:
        """Return the body of a request that scores labels for a new image."""
        rest = {"labels": list(labels), "models": [self.model], **self._engine_choice()}
        return b'{"images":["' + images.data_uri() + b'"],' + json.dumps(rest).encode()[1:]

    def embed_image(self, images: NewImages) -> bytes:
        """Return the body of a request that embeds a new image."""
        rest = {"model": self.model, **self._engine_choice()}
        return b'{"input":["' + images.data_uri() + b'"],' + json.dumps(rest).encode()[1:]

    def embed(self, texts: Sequence[str]) -> bytes:
        """Return the body of a request that embeds texts."""
        return json.dumps({"input": list(texts), "model": self.model, **self._engine_choice()}).encode()

    def _engine_choice(self) -> dict[str, str]:
        return {"engine": self.engine} if self.engine else {}


def parse_metrics(text: str) -> list[tuple[str, dict[str, str], float]]:
    """Return name, labels and value of each sample of Prometheus's text format; of other texts nothing."""
    samples = []
    for line in text.splitlines():
        if match := _SAMPLE.match(line):
            with suppress(ValueError):  # two words, such as "Not found"
                samples.append((match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])))
    return samples


def require_ok(reply: Reply) -> Reply:
    """Return an answer to a request that must succeed.

    Raises:
        LoadTestError: when it did not.
    """
    if reply.status != 200:
        raise LoadTestError(f"The server refused a request: {_problem(reply)}")
    return reply


def _member(reply: Reply, name: str) -> Any:
    content = reply.json()
    if not isinstance(content, dict) or name not in content:
        raise _foreign(reply)
    return content[name]


def _offered(reply: Reply) -> list[str]:
    models = _member(reply, "data")
    if not isinstance(models, list):
        raise _foreign(reply)
    if not all(isinstance(model, dict) and isinstance(model.get("id"), str) for model in models):
        raise _foreign(reply)
    return [model["id"] for model in models]


def _foreign(reply: Reply) -> LoadTestError:
    return LoadTestError(f"The answer is not this project's: {reply.body[:60]!r}.")


def _problem(reply: Reply) -> str:
    """Return the server's own sentence, or its status when it has none."""
    content = reply.json() if reply.body.startswith(b"{") else {}
    error = content.get("error") if isinstance(content, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return str(message) if message else f"status {reply.status}."
