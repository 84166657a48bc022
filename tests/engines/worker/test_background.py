"""Blocking work in the background: on threads of its own, few and of low priority."""

import asyncio
import contextvars
import os
import sys
import threading

import pytest

from engines.worker.background import in_background, in_background_to_the_end
from engines.worker.shared import available_cores

pytestmark = pytest.mark.anyio


async def test_a_function_gets_its_arguments_and_the_context_and_its_result_comes_back():
    user = contextvars.ContextVar("user", default="nobody")
    user.set("somebody")
    assert await in_background(lambda *words: (words, user.get()), 1, 2) == ((1, 2), "somebody")


async def test_an_error_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        await in_background(lambda: 1 / 0)


async def test_however_much_there_is_it_leaves_the_threads_of_requests_free():
    release, running = threading.Event(), []

    def work():
        running.append(threading.get_ident())
        assert release.wait(30)

    tasks = [asyncio.ensure_future(in_background(work)) for _ in range(100)]
    while len(running) < available_cores():
        await asyncio.sleep(0.001)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "prepared"), 10) == "prepared"
    assert len(set(running)) == len(running) == available_cores()
    for task in tasks[len(running) :]:
        task.cancel()  # what has not begun never runs
    await asyncio.sleep(0.01)
    release.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(running) == available_cores()


async def test_work_that_must_not_go_on_alone_is_waited_for_however_often_its_caller_is_cancelled():
    begun, release, ended = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        assert release.wait(30)
        ended.append(True)

    task = asyncio.ensure_future(in_background_to_the_end(work))
    assert await asyncio.to_thread(begun.wait, 30)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


async def test_what_is_waited_for_to_the_end_returns_its_result_or_raises_its_error():
    assert await in_background_to_the_end(pow, 2, 3) == 8
    with pytest.raises(ZeroDivisionError):
        await in_background_to_the_end(lambda: 1 / 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness for each thread")
async def test_its_threads_yield_to_all_others():
    def niceness():
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    here = niceness()
    assert await in_background(niceness) == max(10, here)
    assert await asyncio.to_thread(niceness) == niceness() == here
