"""Build artifacts in the tests' own process, which has imported what each new process takes seconds for."""

import contextlib
import io
import runpy
import sys
import warnings
from unittest.mock import patch

import pytest


def build_here(module, *arguments):
    """Do what `run_builder` does without a new process."""
    said = io.StringIO()
    with (
        patch.object(sys, "argv", [module, *arguments]),
        contextlib.redirect_stdout(said),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # a process of its own would print them, and nobody reads them
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(module, run_name="__main__")
    assert not ended.value.code, said.getvalue()
