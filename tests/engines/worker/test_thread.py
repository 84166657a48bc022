"""The thread that makes engine calls, and what happens when one ends or hangs it."""

import asyncio
import threading

import pytest

from engines.errors import InferenceError
from engines.worker.thread import EngineThread, StalledError, ThreadEndedError

pytestmark = pytest.mark.anyio


@pytest.fixture
def thread():
    thread = EngineThread("test")
    yield thread
    thread.close()


async def test_calls_run_off_the_event_loop_in_one_thread(thread):
    names = [(await thread.call(threading.current_thread, 10))[0].name for _ in range(2)]
    assert names == ["test", "test"]


async def test_an_error_reaches_the_caller_and_the_thread_goes_on(thread):
    with pytest.raises(ZeroDivisionError):
        await thread.call(lambda: 1 / 0, 10)
    assert (await thread.call(lambda: 2, 10))[0] == 2
    assert thread.deaths == 0


async def test_the_call_after_a_death_gets_a_new_thread_however_soon_it_comes(thread):
    def die():
        raise SystemExit

    for deaths in range(1, 50):  # the old thread may still look alive
        with pytest.raises(ThreadEndedError):
            await thread.call(die, 10)
        assert (await thread.call(lambda: 1, 10))[0] == 1
        assert thread.deaths == deaths


async def test_a_hanging_call_is_left_behind_and_its_late_error_bothers_nobody(thread, caplog):
    release = threading.Event()

    def hang():
        release.wait(30)
        raise InferenceError("late")

    with pytest.raises(StalledError, match=r"within 0.01 s"):
        await thread.call(hang, 0.01)
    assert (await thread.call(lambda: 1, 10))[0] == 1
    release.set()
    await asyncio.sleep(0.02)
    assert caplog.text == ""


async def test_a_caller_that_is_cancelled_leaves_the_thread_usable(thread):
    release, started = threading.Event(), threading.Event()
    task = asyncio.ensure_future(thread.call(lambda: (started.set(), release.wait(30)), 10))
    await asyncio.to_thread(started.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    assert (await thread.call(lambda: 1, 10))[0] == 1
