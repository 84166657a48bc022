"""Say how to install what an engine needs and a plain installation may lack."""

from __future__ import annotations

from importlib.util import find_spec

from engines.errors import BackendUnavailableError


def require_packages(engine: str, *packages: str) -> None:
    """Check that packages are installed, without importing them.

    Raises:
        BackendUnavailableError: when one is missing, with the line that installs all of them.
    """
    if missing := [package for package in packages if find_spec(package) is None]:
        raise BackendUnavailableError(
            f"The engine {engine} needs {' and '.join(missing)}; run: pip install {' '.join(packages)}"
        )
