"""Import Gradio without letting it write type stubs, which takes half of its import time.

Each of Gradio's component classes renders a .pyi file beside its source when it is created, at every
start anew (gradio.component_meta.create_or_modify_pyi, Gradio 6.31). Only editors read them.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

_MODULE, _FUNCTION = "gradio.component_meta", "create_or_modify_pyi"


def skip_type_stubs() -> None:
    """Turn the writing of stubs off; call it before Gradio is imported, later it does nothing."""
    if _MODULE not in sys.modules:
        sys.meta_path.insert(0, _StubSkipper())


class _StubSkipper(importlib.abc.MetaPathFinder):
    """Finds that one module as Python would, and replaces the function once the module has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if hasattr(module, _FUNCTION):
            setattr(module, _FUNCTION, lambda *_: None)
