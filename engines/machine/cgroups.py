"""What a container may use: the CPU quota and the memory limit of this process's control groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
# Version 1 writes "no limit" as the largest number of whole pages; nobody has an exabyte.
_UNLIMITED_BYTES = 1 << 60


def cpu_quota(root: Path = CGROUP_ROOT, membership: Path = MEMBERSHIP) -> float | None:
    """Return how many cores' worth of time the groups allow; None without a limit or control groups."""
    return _smallest(root, membership, "cpu", _cpu_quota_of)


def memory_limit_bytes(root: Path = CGROUP_ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Return how much memory the groups allow; None without a limit or control groups."""
    limit = _smallest(root, membership, "memory", _memory_limit_of)
    return None if limit is None else int(limit)


def _smallest(
    root: Path, membership: Path, controller: str, limit_of: Callable[[Path], float | None]
) -> float | None:
    """Return the tightest limit on the way up; a group cannot have more than the group that it is in."""
    limits = [limit_of(group) for group in _groups(root, membership, controller)]
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(root: Path, membership: Path, controller: str) -> Iterator[Path]:
    """Yield this process's groups from the innermost to the root, for both versions.

    A container often sees the host's paths in the membership file but its own group mounted as the
    root; folders that do not exist then have no limit files, and the root has them.
    """
    if not membership.exists():
        return
    for line in membership.read_text("utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mounts = [root / controllers, root / controller] if controllers else [root, root / "unified"]
        for mount in mounts:
            group = mount / path.lstrip("/")
            yield from [group, *(parent for parent in group.parents if parent.is_relative_to(mount))]


def _cpu_quota_of(group: Path) -> float | None:
    if text := _read(group / "cpu.max"):  # version 2: "200000 100000" or "max 100000"
        quota, period = text.split()
        return None if quota == "max" else int(quota) / int(period)
    quota_us, period_us = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
    if not quota_us or not period_us or int(quota_us) <= 0:  # -1 is no limit
        return None
    return int(quota_us) / int(period_us)


def _memory_limit_of(group: Path) -> float | None:
    text = _read(group / "memory.max") or _read(group / "memory.limit_in_bytes")
    if not text or text == "max" or int(text) >= _UNLIMITED_BYTES:
        return None
    return int(text)


def _read(path: Path) -> str:
    return path.read_text("utf-8").strip() if path.is_file() else ""
