"""Facts about this machine's CPU: its instruction set, and how much of it this process may use."""

from __future__ import annotations

import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from engines.machine.cgroups import cpu_quota, memory_limit_bytes

# The instructions that decide which kernels a runtime takes; Linux's, then macOS's word for each.
_INSTRUCTIONS: Mapping[str, tuple[str, ...]] = {
    "avx2": ("avx2",),
    "fma": ("fma",),
    "f16c": ("f16c",),
    "avx512": ("avx512f",),
    "avx512_vnni": ("avx512_vnni", "avx512vnni"),
    "avx512_bf16": ("avx512_bf16",),
    "avx_vnni": ("avx_vnni",),
    "amx_int8": ("amx_int8",),
    "amx_bf16": ("amx_bf16",),
    "arm_neon": ("asimd", "advsimd"),
    "arm_dotprod": ("asimddp", "feat_dotprod"),
    "arm_i8mm": ("i8mm", "feat_i8mm"),
    "arm_bf16": ("bf16", "feat_bf16"),
    "arm_sve": ("sve",),
    "arm_sme": ("sme", "feat_sme"),
}
_ARM_VENDORS = {"0x41": "Arm", "0x48": "HiSilicon", "0x51": "Qualcomm", "0x61": "Apple", "0xc0": "Ampere"}
_ARM_MODELS = {"0xd08": "Cortex-A72", "0xd0b": "Cortex-A76", "0xd0c": "Neoverse N1", "0xd40": "Neoverse V1",
               "0xd49": "Neoverse N2", "0xd4f": "Neoverse V2"}  # fmt: skip
_X86_VENDORS = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}
_ARM_ONLY = "arm_"
_MEMORY_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuModel:
    """Which CPU it is and what it can do."""

    vendor: str  # "AMD", "Intel", "Arm"...; "unknown" when the system does not say
    model: str
    instructions: frozenset[str]  # keys of _INSTRUCTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """This machine's CPU, and the part of the machine that this process or its container may use."""

    vendor: str
    model: str
    architecture: str  # "x86_64", "aarch64", "arm64"
    instructions: frozenset[str]
    cores: float  # of time; a container may have half a core
    memory_bytes: int

    def has(self, *instructions: str) -> bool:
        """Tell whether the CPU has all of these instructions.

        Raises:
            ValueError: when a name is not one of those that `read_cpu` looks for, so that a
                misspelt one does not pass as missing.
        """
        if unknown := set(instructions) - set(_INSTRUCTIONS):
            raise ValueError(f"unknown instructions {sorted(unknown)}; known are {', '.join(_INSTRUCTIONS)}")
        return self.instructions.issuperset(instructions)

    @property
    def has_int8_dot_product(self) -> bool:
        """Tell whether int8 products are summed in 32 bits by one instruction, which cannot saturate."""
        return bool(self.instructions & {"avx512_vnni", "avx_vnni", "amx_int8", "arm_dotprod"})

    @property
    def num_threads(self) -> int:
        """Return how many threads have a core of their own; at least one."""
        return max(1, math.floor(self.cores))


@cache
def read_cpu() -> Cpu:
    """Read the facts of this machine, once a process; what cannot be read is "unknown" or absent."""
    model = _read_model()
    return Cpu(
        vendor=model.vendor,
        model=model.model,
        architecture=platform.machine(),
        instructions=model.instructions,
        cores=allowed_cores(os.environ, _affinity(), cpu_quota()),
        memory_bytes=allowed_memory(os.environ, psutil.virtual_memory().total, memory_limit_bytes()),
    )


def limited_threads(cpu: Cpu, logical_cores: int | None, physical_cores: int | None) -> int:
    """Return how many threads a limit on this process leaves; 0 without a limit.

    Runtimes start a thread for each physical core of the machine, and know of no limit.

    Args:
        cpu: with the cores that this process may use.
        logical_cores: of the machine; None when the system does not tell.
        physical_cores: likewise.
    """
    if logical_cores is None or cpu.cores >= logical_cores:
        return 0
    return min(cpu.num_threads, physical_cores or cpu.num_threads)


def allowed_cores(environment: Mapping[str, str], affinity: int, quota: float | None) -> float:
    """Return the smallest of what the system, the container and a hosted Space's CPU_CORES allow."""
    limits = [float(affinity), *([quota] if quota else [])]
    with suppress(ValueError):  # unset or no number says nothing
        limits.append(float(environment.get("CPU_CORES", "")))
    return min(limit for limit in limits if limit > 0)


def allowed_memory(environment: Mapping[str, str], total: int, limit: int | None) -> int:
    """Return the smallest of what the machine, the container and a hosted Space's MEMORY ("16Gi") allow."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?i?)b?", environment.get("MEMORY", "").strip().lower())
    unit = _MEMORY_UNITS.get(match.group(2), 0) if match else 0
    hosted = [int(float(match.group(1)) * unit)] if match and unit else []
    return min(amount for amount in [total, *([limit] if limit else []), *hosted] if amount > 0)


def parse_cpuinfo(text: str) -> CpuModel:
    """Read the first processor of Linux's /proc/cpuinfo, of x86 or ARM."""
    facts = _facts(text.strip().split("\n\n")[0])
    words = facts.get("flags", facts.get("features", "")).split()
    if "cpu implementer" in facts:
        vendor = _ARM_VENDORS.get(facts["cpu implementer"], facts["cpu implementer"])
        part = facts.get("cpu part", "")
        return CpuModel(
            vendor=vendor,
            model=facts.get("model name") or _ARM_MODELS.get(part, part or "unknown"),
            instructions=_instructions(words, arm=True),
        )
    vendor = facts.get("vendor_id", "unknown")
    return CpuModel(
        vendor=_X86_VENDORS.get(vendor, vendor),
        model=facts.get("model name", "unknown"),
        instructions=_instructions(words, arm=False),
    )


def parse_sysctl(text: str) -> CpuModel:
    """Read macOS's `sysctl machdep.cpu hw.optional`, of an Intel or an Apple CPU."""
    facts = _facts(text)
    brand = facts.get("machdep.cpu.brand_string", "unknown")
    arm = brand.startswith("Apple")
    if arm:
        names = [key.rpartition(".")[2] for key, value in facts.items() if value == "1"]
    else:
        keys = ("machdep.cpu.features", "machdep.cpu.leaf7_features")
        names = " ".join(facts.get(key, "") for key in keys).lower().split()
    vendor = facts.get("machdep.cpu.vendor", "unknown")
    return CpuModel(
        vendor="Apple" if arm else _X86_VENDORS.get(vendor, vendor),
        model=brand,
        instructions=_instructions(names, arm=arm),
    )


def _read_model() -> CpuModel:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        return parse_cpuinfo(cpuinfo.read_text("utf-8"))
    if platform.system() == "Darwin":
        command = ["sysctl", "machdep.cpu", "hw.optional"]
        # An Apple CPU has no machdep.cpu.features, and sysctl's exit code may say so.
        return parse_sysctl(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    return CpuModel(vendor="unknown", model=platform.processor() or "unknown", instructions=frozenset())


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _facts(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _instructions(words: list[str], arm: bool) -> frozenset[str]:
    """Translate a system's words; the same word may mean another thing on the other architecture."""
    return frozenset(
        name
        for name, aliases in _INSTRUCTIONS.items()
        if name.startswith(_ARM_ONLY) == arm and not set(aliases).isdisjoint(words)
    )
