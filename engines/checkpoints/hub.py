"""Models of the Hugging Face hub: found in the local cache without asking anybody, or downloaded."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

from engines.errors import BackendUnavailableError, UnknownModelError

_ID = re.compile(
    r"[\w][\w.-]*/[\w][\w.-]*"
)  # owner and name; the few old ids without owner are no models of ours
_REVISION = re.compile(r"(?!.*\.\.)[\w][\w./-]*")
_SMALL_FILES = re.compile(r"(?:[\w-]*config|tokenizer|special_tokens_map|vocab|[\w.-]*index)\.json")
TOKENIZER_FILES = frozenset({"merges.txt", "spiece.model", "tokenizer.model"})
_WEIGHTS = (  # in order of preference: transformers', open_clip's, and those that only an opt-in reads
    re.compile(r"model(-\d+-of-\d+)?\.safetensors"),
    re.compile(r"open_clip_model\.safetensors"),
    re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin"),
    re.compile(r"open_clip_pytorch_model\.bin"),
)
logger = logging.getLogger(__name__)


class HubModel(NamedTuple):
    """A model on the hub at a branch, a tag or a commit."""

    repo: str  # "owner/name"
    revision: str = "main"


def parse_hub_name(name: str) -> HubModel | None:
    """Read "owner/name" or "owner/name@revision"; None for what cannot be such a name."""
    repo, at, revision = name.partition("@")
    if not _ID.fullmatch(repo) or (at and not _REVISION.fullmatch(revision)):
        return None
    return HubModel(repo, revision or "main")


def find_cached(model: HubModel) -> Path | None:
    """Return the folder of a model in the local hub cache, whole or not, without asking the network.

    HF_HOME and HF_HUB_CACHE are honoured.
    """
    from huggingface_hub import constants

    repository = Path(constants.HF_HUB_CACHE) / f"models--{model.repo.replace('/', '--')}"
    reference = repository / "refs" / model.revision
    commit = reference.read_text("utf-8").strip() if reference.is_file() else model.revision
    snapshot = repository / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def download(model: HubModel, *, open_clip: bool = False) -> Path:
    """Download what is missing of a model into the hub cache and return its folder.

    Small files come first, so that a folder with weights is whole; a download that was cut goes on
    where it stopped. HF_TOKEN, HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE are honoured.

    Args:
        model: what to download.
        open_clip: take open_clip's weights where a repository holds transformers' as well.

    Raises:
        UnknownModelError: when the hub has no such model or revision, or shows it only to others.
        BackendUnavailableError: when the hub cannot be reached or the download fails.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    # Its bases are OSError and the HTTP library's own error, whichever library this version uses.
    failures: tuple[type[BaseException], ...] = HfHubHTTPError.__bases__
    try:
        info = HfApi().model_info(model.repo, revision=model.revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        names = choose_files(list(sizes), open_clip=open_clip)
        total_mb = sum(sizes[name] for name in names) / 1e6
        logger.info("Downloading %s: %d files, %.1f MB.", model.repo, len(names), total_mb)
        done_mb = 0.0
        path = Path()
        for name in names:
            path = Path(hf_hub_download(model.repo, name, revision=model.revision))
            done_mb += sizes[name] / 1e6
            logger.info("%s: %.1f of %.1f MB, %s is here.", model.repo, done_mb, total_mb, name)
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise UnknownModelError(
            f"The hub has no model {model.repo!r} at {model.revision!r}, or asks for access to it: accept"
            " its licence there and set HF_TOKEN."
        ) from None
    except failures as error:
        raise BackendUnavailableError(
            f"Cannot download {model.repo!r} ({_first_line(error)}); check the connection and HF_HUB_OFFLINE,"
            " then try again: it goes on where it stopped."
        ) from error
    return path.parent


def choose_files(names: list[str], *, open_clip: bool = False) -> list[str]:
    """Return the files of a repository that a model needs, the weights last and in one format only.

    Raises:
        UnknownModelError: when there are no weights of a known format.
    """
    small = [name for name in names if _SMALL_FILES.fullmatch(name) or name in TOKENIZER_FILES]
    patterns = [pattern for pattern in _WEIGHTS if "open_clip" in pattern.pattern] if open_clip else _WEIGHTS
    for pattern in patterns:
        if weights := [name for name in names if pattern.fullmatch(name)]:
            return [*small, *weights]
    raise UnknownModelError("The repository on the hub has no weights of a known format.")


def _first_line(error: Any) -> str:
    return (str(error) or type(error).__name__).strip().split("\n")[0].rstrip(".")
