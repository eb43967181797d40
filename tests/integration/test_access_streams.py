"""A stream leaves two events in the access log, however much it sends; one of the access log does not feed itself."""

from access_events import outcomes, recorded
from conftest import Connection
from doors import LiveDoor
from streams import append, first, items, receive


async def test_a_stream_is_recorded_before_its_first_frame_and_after_its_last(
    live: LiveDoor, owner: Connection
) -> None:
    async with live.watch(live.door.token(), params={"action": "order.paid"}) as stream:
        await first(stream)
        (intent,) = await recorded(owner)
        assert (intent["action"], intent["metadata"]["asked"]) == ("logs.stream", {"action": "order.paid"})
        await append(live, 3, action="order.paid")
        await items(stream, 3)
        assert await recorded(owner) == [intent]
    (outcome,) = await outcomes(owner, 1)
    told = outcome["metadata"]
    assert (told["intent"], told["result"], told["count"], told["last_seq"]) == (intent["id"], "completed", 3, 2)


async def test_a_stream_that_is_ended_is_told_as_broken_off(live: LiveDoor, owner: Connection) -> None:
    async with live.watch(live.door.token()) as stream:
        await first(stream)
        await stream.send("one message too many")
        await stream.wait_closed()
    (outcome,) = await outcomes(owner, 1)
    assert (outcome["metadata"]["result"], outcome["metadata"]["code"]) == ("aborted", 4400)
    assert outcome["severity"] == "WARNING"


async def test_a_stream_of_the_access_log_does_not_feed_itself(live: LiveDoor, owner: Connection) -> None:
    url = live.watch(live.door.token(), path="/api/v1/access-logs/stream")
    async with url as stream:
        assert await first(stream) == 0  # its own intent was stored before it began
        headers = live.door.bearer("auditor")
        for _ in range(3):
            answer = await live.door.client.get("/api/v1/logs/stats", headers=headers)
            assert answer.status_code == 200
        sent = await items(stream, 3)
        assert [each["action"] for each in sent] == ["logs.stats"] * 3
        assert (await receive(stream))["type"] == "heartbeat"  # after 15 seconds without anything
        assert len(await recorded(owner)) == 4
    (outcome,) = await outcomes(owner, 1)
    assert (outcome["action"], outcome["metadata"]["count"]) == ("access_logs.stream", 3)
