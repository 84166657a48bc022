"""Which engines are unloaded, and which never."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from engines import housekeeping
from engines.housekeeping import PoolLimits, too_many
from tests.fakes import fake_batched

pytestmark = pytest.mark.anyio


@pytest.fixture
def resident(monkeypatch):
    """Return an object whose `mb` is this process's memory."""
    memory = SimpleNamespace(mb=1000)
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=memory.mb * 1e6))
    monkeypatch.setattr(housekeeping.psutil, "Process", lambda: process)
    return memory


def engines(**unused_s):
    """Return engines by name, each unused for so many seconds."""
    named = {}
    for name, seconds in unused_s.items():
        named[name] = fake_batched()
        named[name].last_used_s = time.monotonic() - seconds
    return named


async def test_nothing_is_unloaded_without_limits(resident):
    assert too_many(engines(old=1e6, new=0), PoolLimits()) == []


async def test_engines_that_nobody_used_for_long_go_the_oldest_first(resident):
    loaded = engines(new=5, old=70, older=90)
    assert too_many(loaded, PoolLimits(idle_unload_s=60)) == ["older", "old"]


async def test_the_only_engine_goes_too_when_nobody_uses_it(resident):
    assert too_many(engines(only=70), PoolLimits(idle_unload_s=60)) == ["only"]


async def test_an_engine_that_has_work_stays(resident):
    loaded = engines(busy=70, idle=65)
    async with loaded["busy"] as engine:
        futures = engine.images.enqueue([np.ones(3, np.float32)])
        assert too_many(loaded, PoolLimits(idle_unload_s=60)) == ["idle"]
        assert too_many(loaded, PoolLimits(memory_limit_mb=500)) == ["idle"]
        await futures[0]


async def test_an_engine_that_somebody_keeps_stays():
    loaded = engines(kept=70, idle=65)
    with loaded["kept"].keeping():
        assert too_many(loaded, PoolLimits(idle_unload_s=60)) == ["idle"]
    loaded["kept"].last_used_s -= 70
    assert too_many(loaded, PoolLimits(idle_unload_s=60)) == ["kept", "idle"]


async def test_with_little_memory_left_the_least_recently_used_engine_goes_alone(resident):
    loaded = engines(new=20, oldest=90, old=70)
    assert too_many(loaded, PoolLimits(memory_limit_mb=900)) == ["oldest"]


async def test_with_memory_enough_all_stay(resident):
    assert too_many(engines(new=20, old=70), PoolLimits(memory_limit_mb=1000)) == []


async def test_the_last_engine_stays_however_large_it_is(resident):
    assert too_many(engines(only=1e6), PoolLimits(memory_limit_mb=1)) == []


async def test_engines_in_use_stay_however_short_memory_is(resident):
    assert too_many(engines(one=0, other=5), PoolLimits(memory_limit_mb=1)) == []


async def test_idle_engines_go_before_memory_is_looked_at(resident):
    loaded = engines(new=20, old=70)
    limits = PoolLimits(idle_unload_s=60, memory_limit_mb=1)
    assert too_many(loaded, limits) == ["old"]


def test_a_canary_is_too_old_after_four_intervals_and_never_where_none_is_sent():
    assert PoolLimits(canary_interval_s=30).max_canary_age_s == 120
    assert PoolLimits(canary_interval_s=0).max_canary_age_s == float("inf")
