"""Provenance: which weights, files and versions an engine's numbers come from."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from engines.checkpoints.find import portable_fingerprint
from engines.models import ModelSpec
from engines.worker.batched_engine import BatchedEngine

_CHECKSUMS = "checksums.json"  # of an artifact's files, as `engines.artifacts.store` keeps them
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What tells one state of a model on an engine from another."""

    engine_identity: str  # changes with the weights, the processor's instructions, the code and the packages
    model_sha256: str  # of the model's files: the same for a copy of it elsewhere
    model_revision: str | None  # the hub's commit, of a model from the hub
    artifact: str | None  # which built files the engine runs, such as ONNX graphs
    artifact_sha256: str | None  # of their checksums; None for an engine that runs the model's own files


def read_provenance(engine: BatchedEngine) -> Provenance:
    """Return where a running engine's embeddings come from."""
    facts = json.dumps(portable_fingerprint(engine.spec), sort_keys=True)
    folder: Path | None = getattr(engine.engine, "folder", None)
    if folder and not (folder / _CHECKSUMS).is_file():  # the model's own, which `model_sha256` tells
        folder = None
    return Provenance(
        engine_identity=engine.identity.removeprefix(engine.spec.name).lstrip("/"),  # no path of this machine
        model_sha256=hashlib.sha256(facts.encode()).hexdigest(),
        model_revision=_revision(engine.spec),
        artifact=folder.name.removeprefix(f"{engine.spec.slug}-") if folder else None,  # likewise
        artifact_sha256=hashlib.sha256((folder / _CHECKSUMS).read_bytes()).hexdigest() if folder else None,
    )


def _revision(spec: ModelSpec) -> str | None:
    """Return the commit that the hub's cache names a snapshot's folder after."""
    name = spec.folder.name
    return name if spec.folder.parent.name == "snapshots" and _COMMIT.fullmatch(name) else None
