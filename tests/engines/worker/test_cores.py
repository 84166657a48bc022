"""Who gets the cores, in which order, and that none is ever lost."""

import asyncio
import random

import pytest

from engines.worker.cores import CoreSlots

pytestmark = pytest.mark.anyio


def ask(slots, need, background=False):
    """Start to acquire slots: a number of them, or what a function says."""
    return asyncio.ensure_future(
        slots.acquire(need if callable(need) else lambda: need, background=background)
    )


async def settle():
    for _ in range(3):
        await asyncio.sleep(0)


async def test_free_slots_are_granted_at_once_and_come_back():
    slots = CoreSlots(2)
    assert await slots.acquire(lambda: 2) == 2
    assert slots.busy == 2
    slots.release(2)
    assert slots.busy == 0


async def test_first_come_first_served_even_where_a_later_one_would_fit():
    slots = CoreSlots(2)
    held = await slots.acquire(lambda: 1)
    large, small = ask(slots, 2), ask(slots, 1)
    await settle()
    assert (large.done(), small.done()) == (False, False)
    slots.release(held)
    await settle()
    assert (large.done(), small.done()) == (True, False)
    slots.release(await large)
    assert await small == 1


async def test_a_waiter_is_asked_again_what_it_needs_when_something_changes():
    slots = CoreSlots(2)
    await slots.acquire(lambda: 1)
    needs = [2]
    waiter = ask(slots, lambda: needs[-1])
    await settle()
    assert not waiter.done()
    needs.append(1)
    slots.reconsider()
    assert await waiter == 1


async def test_nobody_is_asked_while_no_slot_is_free():
    slots = CoreSlots(1)
    held = await slots.acquire(lambda: 1)
    asked = []
    waiter = ask(slots, lambda: asked.append("again") or 1)
    await settle()
    slots.reconsider()
    assert not asked
    slots.release(held)
    assert await waiter == 1
    assert asked == ["again"]


async def test_who_needs_nothing_any_more_does_not_hold_up_the_next():
    slots = CoreSlots(1)
    held = await slots.acquire(lambda: 1)
    needs = [1]
    first, second = ask(slots, lambda: needs[-1]), ask(slots, 1)
    await settle()
    needs.append(0)
    slots.release(held)
    assert (await first, await second) == (0, 1)


async def test_a_waiter_that_is_cancelled_lets_the_next_one_through():
    slots = CoreSlots(2)
    await slots.acquire(lambda: 1)
    large, small = ask(slots, 2), ask(slots, 1)
    await settle()
    large.cancel()
    assert await small == 1
    assert slots.busy == 2


async def test_slots_come_back_when_a_waiter_is_cancelled_after_the_grant():
    slots = CoreSlots(1)
    held = await slots.acquire(lambda: 1)
    waiter = ask(slots, 1)
    await settle()
    slots.release(held)  # granted, but the task has not run since
    assert slots.busy == 1
    waiter.cancel()
    await settle()
    assert waiter.cancelled()
    assert slots.busy == 0


async def test_slots_are_not_given_to_a_waiter_that_was_cancelled_a_moment_ago():
    slots = CoreSlots(1)
    held = await slots.acquire(lambda: 1)
    waiter, next_one = ask(slots, 1), ask(slots, 1)
    await settle()
    waiter.cancel()
    slots.release(held)  # before the cancelled task has run
    assert await next_one == 1
    assert waiter.cancelled()
    assert slots.busy == 1


async def test_a_waiter_that_cannot_say_what_it_needs_fails_alone():
    slots = CoreSlots(1)
    held = await slots.acquire(lambda: 1)
    needs = {"cores": 1}
    broken, fine = ask(slots, lambda: needs["cores"]), ask(slots, 1)
    await settle()
    needs.clear()
    slots.release(held)
    with pytest.raises(KeyError):
        await broken
    assert await fine == 1


async def test_all_others_pass_the_background():
    slots = CoreSlots(1)
    held = await slots.acquire(lambda: 1)
    background, first, second = ask(slots, 1, background=True), ask(slots, 1), ask(slots, 1)
    await settle()
    slots.release(held)
    for waiter in (first, second):
        await settle()
        assert not background.done()
        slots.release(await waiter)
    assert await background == 1


async def test_slots_are_kept_free_for_who_wants_more_of_them_and_not_given_to_the_background():
    slots = CoreSlots(2)
    held = [await ask(slots, 1, background=True) for _ in range(2)]
    large, background = ask(slots, 2), ask(slots, 1, background=True)
    await settle()
    slots.release(held.pop())
    await settle()
    assert (large.done(), background.done()) == (False, False)
    large.cancel()  # nobody wants them any more
    assert await background == 1


async def test_the_background_holds_back_while_a_queue_has_items_and_others_do_not():
    slots, queue = CoreSlots(2), [1]

    def has_items():
        return bool(queue)

    slots.add_queue(has_items)
    background = ask(slots, 1, background=True)
    assert await slots.acquire(lambda: 1) == 1
    await settle()
    assert not background.done()
    queue.clear()
    slots.reconsider()
    slots.release(await background)
    queue.append(1)
    background = ask(slots, 1, background=True)
    await settle()
    assert not background.done()
    slots.remove_queue(has_items)
    assert await background == 1


@pytest.mark.parametrize("seed", range(5))
async def test_no_slot_is_lost_or_granted_twice_whatever_happens(seed):
    chance = random.Random(seed)
    slots = CoreSlots(3)
    held = 0

    async def work():
        nonlocal held
        background = chance.random() < 0.5
        count = await slots.acquire(lambda: chance.randint(0, 3), background=background)
        try:
            held += count
            assert held <= 3
            for _ in range(chance.randint(0, 3)):
                await asyncio.sleep(0)
        finally:
            held -= count
            slots.release(count)

    tasks = [asyncio.ensure_future(work()) for _ in range(300)]
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        for task in chance.sample(tasks, 3):
            task.cancel()
        slots.reconsider()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
    assert any(result is None for result in results)
    assert slots.busy == held == 0
