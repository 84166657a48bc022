"""CPU facts are read from what the systems print, and limits from control groups of both versions."""

from dataclasses import replace

import pytest

from engines.machine.cgroups import cpu_quota, memory_limit_bytes
from engines.machine.cpu import (
    allowed_cores,
    allowed_memory,
    limited_threads,
    parse_cpuinfo,
    parse_sysctl,
    read_cpu,
)

ZEN3 = """processor	: 0
vendor_id	: AuthenticAMD
model name	: AMD EPYC 7763 64-Core Processor
flags		: fpu sse2 fma sse4_1 avx f16c bmi1 avx2 sha_ni vaes

processor	: 1
flags		: fpu avx512f
"""
ICE_LAKE = """processor	: 0
vendor_id	: GenuineIntel
model name	: Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz
flags		: fpu sse2 fma avx f16c avx2 avx512f avx512dq avx512cd avx512bw avx512vl avx512_vnni
"""
SAPPHIRE_RAPIDS = """processor	: 0
vendor_id	: GenuineIntel
model name	: Intel(R) Xeon(R) Platinum 8488C
flags		: fma f16c avx2 avx512f avx512_vnni avx_vnni avx512_bf16 amx_bf16 avx512_fp16 amx_tile amx_int8
"""
AMX = {"amx_int8", "amx_bf16"}
GRAVITON3 = """processor	: 0
BogoMIPS	: 2100.00
Features	: fp asimd evtstrm aes sha2 crc32 atomics asimdhp asimddp sve i8mm bf16
CPU implementer	: 0x41
CPU architecture: 8
CPU part	: 0xd40
"""
APPLE = """machdep.cpu.brand_string: Apple M2
hw.optional.AdvSIMD: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_SME: 0
"""
MAC_INTEL = """machdep.cpu.vendor: GenuineIntel
machdep.cpu.brand_string: Intel(R) Core(TM) i7-1068NG7 CPU @ 2.30GHz
machdep.cpu.features: FPU SSE2 FMA AVX1.0 F16C
machdep.cpu.leaf7_features: BMI1 AVX2 AVX512F AVX512VNNI
"""


@pytest.mark.parametrize(
    ("parse", "text", "vendor", "model", "instructions"),
    [
        (parse_cpuinfo, ZEN3, "AMD", "AMD EPYC 7763 64-Core Processor", {"avx2", "fma", "f16c"}),
        (
            parse_cpuinfo,
            ICE_LAKE,
            "Intel",
            "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz",
            {"avx2", "fma", "f16c", "avx512", "avx512_vnni"},
        ),
        (
            parse_cpuinfo,
            SAPPHIRE_RAPIDS,
            "Intel",
            "Intel(R) Xeon(R) Platinum 8488C",
            {"avx2", "fma", "f16c", "avx512", "avx512_vnni", "avx_vnni", "avx512_bf16"} | AMX,
        ),
        (
            parse_cpuinfo,
            GRAVITON3,
            "Arm",
            "Neoverse V1",
            {"arm_neon", "arm_dotprod", "arm_i8mm", "arm_bf16", "arm_sve"},
        ),
        (parse_sysctl, APPLE, "Apple", "Apple M2", {"arm_neon", "arm_dotprod", "arm_i8mm"}),
        (
            parse_sysctl,
            MAC_INTEL,
            "Intel",
            "Intel(R) Core(TM) i7-1068NG7 CPU @ 2.30GHz",
            {"avx2", "fma", "f16c", "avx512", "avx512_vnni"},
        ),
    ],
)  # fmt: skip
def test_the_model_and_its_instructions_are_read(parse, text, vendor, model, instructions):
    facts = parse(text)
    assert (facts.vendor, facts.model, facts.instructions) == (vendor, model, instructions)


def test_a_system_that_says_nothing_has_no_instructions():
    facts = parse_cpuinfo("")
    assert (facts.vendor, facts.model, facts.instructions) == ("unknown", "unknown", frozenset())


def test_questions_about_instructions_are_answered_and_misspelt_ones_refused():
    cpu = replace(read_cpu(), instructions=parse_cpuinfo(ICE_LAKE).instructions)
    assert cpu.has("avx2", "avx512_vnni")
    assert not cpu.has("avx2", "amx_int8")
    assert cpu.has_int8_dot_product
    assert not replace(cpu, instructions=frozenset({"avx2"})).has_int8_dot_product
    with pytest.raises(ValueError, match="avx512vnni"):
        cpu.has("avx512vnni")


def test_this_machine_is_read_once():
    assert read_cpu() is read_cpu()
    assert read_cpu().num_threads >= 1
    assert read_cpu().memory_bytes > 0


@pytest.mark.parametrize(
    ("environment", "affinity", "quota", "cores"),
    [
        ({}, 8, None, 8),
        ({}, 8, 1.5, 1.5),
        ({"CPU_CORES": "2"}, 16, 4.0, 2),
        ({"CPU_CORES": "many"}, 4, None, 4),
        ({"CPU_CORES": "0"}, 4, None, 4),
    ],
)
def test_the_smallest_limit_decides_the_cores(environment, affinity, quota, cores):
    assert allowed_cores(environment, affinity, quota) == cores


@pytest.mark.parametrize(
    ("environment", "limit", "memory"),
    [
        ({}, None, 2**36),
        ({}, 2**31, 2**31),
        ({"MEMORY": "16Gi"}, None, 2**34),
        ({"MEMORY": "plenty"}, None, 2**36),
        ({"MEMORY": "1.5G"}, None, 1_500_000_000),
    ],
)
def test_the_smallest_limit_decides_the_memory(environment, limit, memory):
    assert allowed_memory(environment, 2**36, limit) == memory


def write(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_version_2_takes_the_tightest_group_on_the_way_up(tmp_path):
    write(
        tmp_path,
        a__b__cpu_DOT_max="max 100000\n",
        a__cpu_DOT_max="150000 100000\n",
        a__b__memory_DOT_max="2147483648\n",
        a__memory_DOT_max="max\n",
        membership="0::/a/b\n",
    )
    assert cpu_quota(tmp_path, tmp_path / "membership") == 1.5
    assert memory_limit_bytes(tmp_path, tmp_path / "membership") == 2**31


def test_version_1_is_read_even_when_the_paths_are_the_hosts(tmp_path):
    write(
        tmp_path,
        **{"cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
        memory__memory_DOT_limit_in_bytes="1073741824\n",
        membership="4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n",
    )
    assert cpu_quota(tmp_path, tmp_path / "membership") == 2
    assert memory_limit_bytes(tmp_path, tmp_path / "membership") == 2**30


def test_no_limit_is_none_in_both_versions_and_without_control_groups(tmp_path):
    write(
        tmp_path,
        **{"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        memory__memory_DOT_limit_in_bytes="9223372036854771712\n",
        membership="2:cpu:/\n1:memory:/\n",
    )
    for membership in (tmp_path / "membership", tmp_path / "missing"):
        assert cpu_quota(tmp_path, membership) is None
        assert memory_limit_bytes(tmp_path, membership) is None


@pytest.mark.parametrize(
    ("cores", "logical", "physical", "threads"),
    [
        (2, 32, 32, 2),
        (2.5, 4, 4, 2),
        (0.5, 4, 4, 1),
        (12, 16, 8, 8),
        (12, 16, None, 12),
        (16, 16, 8, 0),
        (4, None, None, 0),
    ],
)
def test_runtimes_are_told_of_a_limit_alone(cores, logical, physical, threads):
    assert limited_threads(replace(read_cpu(), cores=cores), logical, physical) == threads
