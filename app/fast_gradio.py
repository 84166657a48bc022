"""Import Gradio without letting it write type stubs and docstrings, which takes half of its import time.

Each of Gradio's component classes renders a .pyi file beside its source and a docstring for each of its
events when it is created, at every start anew (gradio.component_meta, Gradio 6.31). Only editors read them.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

_MODULE = "gradio.component_meta"


def skip_editor_help() -> None:
    """Turn the writing of stubs and docstrings off; to be called before Gradio is imported."""
    if _MODULE not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds that one module as Python would, and replaces the functions once the module has run."""

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
        for owner, function in ((module, "create_or_modify_pyi"), (module.EventListener, "set_doc")):
            if hasattr(owner, function):
                setattr(owner, function, lambda *_, **__: None)
