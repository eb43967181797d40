"""Turns: one body at a time, clients in turn, only so many let in, and rests beside quick requests."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tallystick.errors import OverloadedError
from tallystick.log.turns import Rests, Turns


async def take(turns: Turns, client: str, order: list[str], *, work: int = 3) -> None:
    async with turns.turn(client):
        order.append(client)
        for _ in range(work):
            await asyncio.sleep(0)
            assert order[-1] == client, "two had the turn at once"


async def test_each_client_comes_before_anybodys_second_body() -> None:
    turns, order = Turns(), list[str]()

    await asyncio.gather(*(take(turns, client, order) for client in "aaaaabbc"))

    assert "".join(order) == "abcabaaa"


async def test_a_turn_is_free_again_after_an_error() -> None:
    turns = Turns()

    with pytest.raises(ValueError, match="bad"):
        async with turns.turn("a"):
            raise ValueError("bad")
    async with asyncio.timeout(1), turns.turn("b"):
        pass


async def test_a_client_that_gives_up_waiting_does_not_keep_the_turn() -> None:
    turns, order = Turns(), list[str]()
    async with turns.turn("a"):
        leaving = asyncio.create_task(take(turns, "b", order))
        staying = asyncio.create_task(take(turns, "c", order))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
    async with asyncio.timeout(1):
        await staying
        await take(turns, "d", order)

    assert order == ["c", "d"]


async def test_a_client_cancelled_in_the_moment_of_its_turn_passes_it_on() -> None:
    turns, order = Turns(), list[str]()
    async with turns.turn("a"):
        leaving = asyncio.create_task(take(turns, "b", order))
        staying = asyncio.create_task(take(turns, "c", order))
        await asyncio.sleep(0)
    leaving.cancel()  # it was given the turn and has not run since
    async with asyncio.timeout(1):
        await staying

    assert order == ["c"]


async def test_each_client_has_a_bound_of_its_own() -> None:
    turns = Turns(per_client=2, pause=0)
    async with AsyncExitStack() as stack:
        for client in ("1", "2"):
            await stack.enter_async_context(turns.admit(client))
            await stack.enter_async_context(turns.admit(client))
            with pytest.raises(OverloadedError, match="2 bulk requests of this client"):
                await stack.enter_async_context(turns.admit(client))
    async with turns.admit("1"), turns.admit("1"):
        pass


async def test_a_refusal_waits_but_keeps_nobody_waiting() -> None:
    turns = Turns(per_client=1, pause=60)
    async with turns.admit("flood"):
        refused = asyncio.create_task(turns.admit("flood").__aenter__())
        async with asyncio.timeout(1), turns.admit("other"), turns.turn("other"):
            assert not refused.done()
        refused.cancel()


async def rested(rests: Rests, worked: float) -> asyncio.Task[None]:
    """What a slice of long work comes to in some rounds of the loop: it is done unless it rests."""
    resting = asyncio.create_task(rests.rest(worked))
    for _ in range(5):
        await asyncio.sleep(0)
    return resting


async def test_long_work_rests_until_no_quick_request_is_in_progress() -> None:
    rests = Rests(longest=60)
    with rests:
        with rests:
            resting = await rested(rests, 60)
        await asyncio.sleep(0)
        assert not resting.done()
    async with asyncio.timeout(5):
        await resting


@pytest.mark.parametrize(("longest", "worked"), [(60, 0.003), (0.003, 60)], ids=["by its work", "by the bound"])
async def test_long_work_goes_on_though_quick_requests_never_end(longest: float, worked: float) -> None:
    rests = Rests(longest=longest)
    with rests:
        async with asyncio.timeout(5):
            await rests.rest(worked)


async def test_a_slice_too_short_for_the_clock_of_the_loop_is_rested_for_with_the_next() -> None:
    rests = Rests(shortest=30, longest=60)
    with rests:
        assert (await rested(rests, 20)).done()
        resting = await rested(rests, 20)
        assert not resting.done()
    await resting


async def test_nothing_is_rested_for_twice_or_that_was_done_alone() -> None:
    rests = Rests(shortest=30, longest=60)
    await rests.rest(29)
    with rests:
        assert (await rested(rests, 2)).done()
        resting = await rested(rests, 40)
    await resting
    with rests:
        assert (await rested(rests, 2)).done()


async def test_long_work_only_gives_way_where_nobody_else_is() -> None:
    rests = Rests(longest=60)
    with pytest.raises(ValueError, match="bad"), rests:
        raise ValueError("bad")

    async with asyncio.timeout(5):
        await rests.rest(60)
