"""Make `import torchvision` work beside a CPU-only torch.

PyPI's torchvision wheel is compiled against the CUDA build of torch. Beside a CPU build its
extension does not load, and the import then fails: torchvision registers fake kernels for
operators that the extension would have defined. open_clip and transformers need torchvision only
for its image transforms, which are plain Python.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

# Signatures as in torchvision/csrc/ops/nms.cpp and csrc/ops/quantized/cpu/qnms_kernel.cpp.
_OPERATORS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[torch.library.Library] = []  # the definitions live as long as their Library


def ensure_torchvision_operators() -> bool:
    """Define the operators that importing torchvision asks for, if its own extension cannot load.

    Call it before torchvision is first imported. The operators have no kernels: calling one raises
    NotImplementedError, which is right, for nothing here detects boxes.

    Returns:
        True when the operators had to be defined, False when the extension brings them or
        torchvision is not installed.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or extension_loads(Path(spec.origin).parent):
        return False
    missing = [name for name in _OPERATORS if not _is_defined(name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in missing:
            library.define(_OPERATORS[name])
        _libraries.append(library)
    return bool(missing)


def extension_loads(package: Path) -> bool:
    """Tell whether the compiled extension in torchvision's package folder can be loaded."""
    for path in [*package.glob("_C*.so"), *package.glob("_C*.pyd")]:
        try:
            torch.ops.load_library(str(path))
        except OSError:  # undefined symbols or a missing CUDA library
            continue
        return True
    return False


def _is_defined(name: str) -> bool:
    return hasattr(torch.ops.torchvision, name)
