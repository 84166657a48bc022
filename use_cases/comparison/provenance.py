"""Where numbers that are computed on this machine come from."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from engines.machine.cpu import read_cpu
from engines.worker.shared import available_cores
from use_cases.results import machine_facts, package_versions, project_commit


def measured_here() -> dict[str, Any]:
    """Return what a committed record says of its machine, versions, commit and time; runs git."""
    return {
        "commit": project_commit(),
        "created_utc": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine_facts(read_cpu()),
        "versions": package_versions(),
        "threads": available_cores(),
    }
