"""Find a SigLIP or CLIP checkpoint on disk, tell whose format it has, and tell its states apart."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

from engines.checkpoints.files import (
    OPEN_CLIP_CONFIG,
    PICKLES,
    has_weights,
    is_whole,
    read_json,
    safetensors_files,
)
from engines.checkpoints.hub import TOKENIZER_FILES, HubModel, download, find_cached, parse_hub_name
from engines.checkpoints.open_clip_facts import read_open_clip_spec
from engines.checkpoints.registry import known_model
from engines.checkpoints.transformers_facts import read_transformers_spec
from engines.errors import BackendUnavailableError, UnknownModelError
from engines.models import ModelSpec

_END_BYTES = 1_000_000


def find_checkpoint(name: str, *, allow_download: bool = False, allow_pickled: bool = False) -> Path:
    """Return the folder of a checkpoint: a local folder, or a model of the hub.

    The local hub cache is asked first; only what is missing there is downloaded, where that is allowed.

    Args:
        name: a folder, "owner/name", "owner/name@revision", or open_clip's "name/pretrained".
        allow_download: the caller, not a stranger, chose the name, and the network may be asked.
        allow_pickled: weights in torch's own format will do.

    Raises:
        UnknownModelError: when there is no such folder and no such model.
        BackendUnavailableError: when the hub cannot be reached or the download fails.
    """
    # Unlike pathlib's, these raise nothing for ~nobody or a folder that is closed.
    folder = Path(os.path.expanduser(name))
    if name and os.path.isdir(folder):
        return folder
    pair = open_clip_hub_model(name)
    model = pair or parse_hub_name(name)
    cached = find_cached(model) if model else None
    libraries = ("open_clip",) if pair else ("transformers", "open_clip")
    if cached and (
        not allow_download
        or any(is_whole(cached, each) and _is_readable(cached, each, allow_pickled) for each in libraries)
    ):
        return cached
    if model is None or not allow_download:
        raise UnknownModelError(
            f"No model {name!r}: it is no bundled model, no folder and not in the local Hugging Face cache."
        )
    try:
        return download(model, open_clip=pair is not None)
    except (BackendUnavailableError, UnknownModelError):
        if cached and any(is_whole(cached, library) for library in libraries):
            return cached  # what is wrong with it says more
        raise


def _is_readable(folder: Path, library: str, allow_pickled: bool) -> bool:
    return allow_pickled or bool(safetensors_files(folder, library))


def open_clip_hub_model(name: str) -> HubModel | None:
    """Return where the weights of open_clip's "name/pretrained" are; None when it is no such pair.

    open_clip itself is imported for pairs alone that the registry lacks, because it imports torch.
    """
    if (known := known_model(name)) and known.library == "open_clip":
        return known.hub
    architecture, slash, tag = name.partition("/")
    package = importlib.util.find_spec("open_clip")
    if not slash or package is None or package.origin is None:
        return None
    if not (Path(package.origin).parent / "model_configs" / f"{architecture}.json").is_file():
        return None
    from engines.pytorch.open_clip_towers import pretrained_hub_id

    hub_id = pretrained_hub_id(architecture, tag)
    return parse_hub_name(hub_id) if hub_id else None


def read_checkpoint_spec(folder: Path, name: str, *, allow_pickled: bool = False) -> ModelSpec:
    """Read the facts of a checkpoint folder from its own files.

    A folder may hold a model for transformers and for open_clip; then it is transformers', unless
    the name is open_clip's, or transformers has a pickle alone that is not allowed.

    Raises:
        InvalidInputError: when the folder is not a checkpoint, saying what is missing or wrong.
    """
    refused = not _is_readable(folder, "transformers", allow_pickled)
    if (folder / OPEN_CLIP_CONFIG).exists() and (
        not has_weights(folder, "transformers")
        or open_clip_hub_model(name) is not None
        or (refused and safetensors_files(folder, "open_clip"))
    ):
        return read_open_clip_spec(folder, name, allow_pickled)
    return read_transformers_spec(folder, name, allow_pickled)


def fingerprint(spec: ModelSpec) -> dict[str, object]:
    """Return what tells one state of a model's files from another, without reading its weights.

    Size and time of change stand for a weight file's content; bundled models carry checksums.
    """
    if spec.family == "bundled":
        config = read_json(spec.folder / "config.json")
        return {key: config[key] for key in ("name", "heads_sha256", "tower_sha256")}
    stats = {path.name: path.stat() for path in _files_of(spec)}
    return {"files": {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}}


def portable_fingerprint(spec: ModelSpec) -> dict[str, object]:
    """Do what `fingerprint` does, but so that a copy of the model on another machine has the same.

    A file stands for its size, its beginning and its end; other weights of the same shape differ there.
    """
    if spec.family == "bundled":
        return fingerprint(spec)
    return {"files": {path.name: [path.stat().st_size, _digest_of_ends(path)] for path in _files_of(spec)}}


def _files_of(spec: ModelSpec) -> list[Path]:
    """Return what a model may be read from; not notes that lie there, nor another library's weights."""
    library = "open_clip" if spec.family == "open_clip" else "transformers"
    pickles = spec.folder.glob(PICKLES[library])
    weights = pickles if spec.pickled_weights else safetensors_files(spec.folder, library)
    small = [path for path in spec.folder.iterdir() if path.is_file() and is_small_file(path.name)]
    return sorted({*weights, *small})


def is_small_file(name: str) -> bool:
    """Tell whether a model may be read from a file of that name besides its weights."""
    return name in TOKENIZER_FILES or (name.endswith(".json") and not name.startswith("."))


def _digest_of_ends(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_END_BYTES))
        file.seek(max(path.stat().st_size - _END_BYTES, 0))
        digest.update(file.read(_END_BYTES))
    return digest.hexdigest()
