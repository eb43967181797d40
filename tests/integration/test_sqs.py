"""SQS by a server that speaks it: queues that make themselves, faults that are waited out, dead letters."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from queue_conformance import assert_empty
from sqs_proxy import Refusal, SqsProxy, sqs_proxy
from sqs_queues import kill_messages, open_queue, queue_settings
from tallystick.adapters.aws import is_loopback
from tallystick.adapters.sqs.client import Sqs
from tallystick.adapters.sqs.queue import SqsQueue
from tallystick.errors import ConfigurationError, UnavailableError
from tallystick.ports import QueueKind
from tallystick.settings import QueueSettings

DEADLINE = 30.0


@pytest_asyncio.fixture
async def proxy(elasticmq_url: str) -> AsyncGenerator[SqsProxy]:
    async with sqs_proxy(elasticmq_url) as made:
        yield made


async def subjects(queue: SqsQueue, kind: QueueKind, wanted: int) -> list[str]:
    """Take messages and be done with them, until so many came."""
    found: list[str] = []
    async with asyncio.timeout(DEADLINE):
        while len(found) < wanted:
            messages = await queue.receive(kind, limit=100, wait=1)
            await queue.done(kind, messages)
            found += [message.subject for message in messages]
    return found


async def attributes(settings: QueueSettings, name: str) -> dict[str, str]:
    async with Sqs(settings) as sqs:
        url = (await sqs.call("get_queue_url", QueueName=name))["QueueUrl"]
        return (await sqs.call("get_queue_attributes", QueueUrl=url, AttributeNames=["All"]))["Attributes"]


async def test_processes_that_make_the_queues_at_once_get_the_same(elasticmq_url: str) -> None:
    settings = queue_settings(elasticmq_url)
    async with SqsQueue(settings) as one, SqsQueue(settings) as two, SqsQueue(settings) as three:
        async with asyncio.TaskGroup() as group:
            for queue in (one, two, three):
                for kind in ("wake-ups", "jobs"):
                    group.create_task(queue.receive(kind, limit=1, wait=0))
        await one.submit("a")
        assert await subjects(two, "jobs", 1) == ["a"]
    for kind in ("wake-ups", "jobs"):
        made = await attributes(settings, f"{settings.prefix}-{kind}.fifo")
        dead = await attributes(settings, f"{settings.prefix}-{kind}-dead.fifo")
        assert made["FifoQueue"] == dead["FifoQueue"] == "true"
        assert made["ContentBasedDeduplication"] == "false"
        assert json.loads(made["RedrivePolicy"])["deadLetterTargetArn"] == dead["QueueArn"]


async def test_queues_that_are_there_need_no_permission_to_make_them(proxy: SqsProxy) -> None:
    settings = queue_settings(proxy.url)

    def forbid(action: str, _: dict[str, Any]) -> Refusal | None:
        return Refusal(403, "AccessDeniedException") if action == "CreateQueue" else None

    proxy.fault = forbid
    async with SqsQueue(settings) as queue:
        with pytest.raises(UnavailableError, match="AccessDenied"):
            await queue.submit("a")
    async with SqsQueue(settings.model_copy(update={"endpoint": proxy.target})) as queue:
        await queue.submit("a")
    async with SqsQueue(settings) as queue:
        assert await subjects(queue, "jobs", 1) == ["a"]


async def test_queues_that_are_removed_are_made_again(elasticmq_url: str) -> None:
    settings = queue_settings(elasticmq_url)
    async with SqsQueue(settings) as queue, Sqs(settings) as sqs:
        await queue.wake({7: 1}, {})
        for name in (f"{settings.prefix}-wake-ups.fifo", f"{settings.prefix}-wake-ups-dead.fifo"):
            url = (await sqs.call("get_queue_url", QueueName=name))["QueueUrl"]
            await sqs.call("delete_queue", QueueUrl=url)
        await queue.wake({7: 2}, {})
        assert await subjects(queue, "wake-ups", 1) == ["7:2"]


async def test_a_wake_up_is_swallowed_when_it_says_nothing_new(elasticmq_url: str) -> None:
    async with open_queue(elasticmq_url) as queue:
        await queue.wake({7: 3}, {})
        await queue.wake({7: 3, 8: 3}, {})
        await queue.wake({7: 4}, {})
        assert sorted(await subjects(queue, "wake-ups", 3)) == ["7:3", "7:4", "8:3"]
        await assert_empty(queue, "wake-ups")


async def test_a_message_says_what_it_comes_of(elasticmq_url: str) -> None:
    cause = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with open_queue(elasticmq_url) as queue:
        await queue.wake({7: 3, 8: 1}, {7: cause})
        await queue.submit("a", cause)
        woken: dict[str, str | None] = {}
        async with asyncio.timeout(DEADLINE):
            while len(woken) < 2:
                woken |= {each.subject: each.cause for each in await queue.receive("wake-ups", limit=2, wait=1)}
        (job,) = await queue.receive("jobs", limit=1, wait=1)
    assert woken == {"7:3": cause, "8:1": None}
    assert job.cause == cause


async def test_only_the_entries_that_failed_are_sent_again(proxy: SqsProxy) -> None:
    sent: list[list[str]] = []

    def fail_once(action: str, body: dict[str, Any]) -> list[str] | None:
        if action != "SendMessageBatch":
            return None
        sent.append([entry["MessageBody"] for entry in body["Entries"]])
        return ["1", "3"] if len(sent) == 1 else None

    proxy.fault = fail_once
    async with open_queue(proxy.url) as queue:
        await queue.wake(dict.fromkeys(range(12), 1), {})
        assert sent == [
            [f"{log_id}:1" for log_id in range(10)],
            ["1:1", "3:1"],
            ["10:1", "11:1"],
        ]
        assert sorted(await subjects(queue, "wake-ups", 12)) == sorted(f"{log_id}:1" for log_id in range(12))


async def test_entries_that_keep_failing_are_told_of(proxy: SqsProxy) -> None:
    proxy.fault = lambda action, _: ["0"] if action == "SendMessageBatch" else None
    async with open_queue(proxy.url) as queue:
        with pytest.raises(UnavailableError, match="1 of send_message_batch"):
            await queue.submit("a")


@pytest.mark.parametrize(
    "refusal", [Refusal(503, "ServiceUnavailable"), Refusal(400, "RequestThrottled"), Refusal(403, "ExpiredToken")]
)
async def test_a_queue_that_refuses_is_down(proxy: SqsProxy, refusal: Refusal) -> None:
    async with open_queue(proxy.url) as queue:
        await queue.submit("a")
        proxy.fault = lambda _action, _body: refusal
        for work in (queue.wake({7: 1}, {}), queue.receive("jobs", limit=1, wait=0)):
            with pytest.raises(UnavailableError):
                await work
        proxy.fault = lambda _action, _body: None
        assert await subjects(queue, "jobs", 1) == ["a"]


async def test_a_queue_that_is_not_there_is_down() -> None:
    async with open_queue("http://127.0.0.1:9") as queue:
        with pytest.raises(UnavailableError):
            await queue.submit("a")


async def test_a_receipt_that_is_too_old_is_no_fault(elasticmq_url: str) -> None:
    async with open_queue(elasticmq_url) as queue:
        await queue.submit("a")
        messages = await queue.receive("jobs", limit=1, wait=1)
        await queue.done("jobs", messages)
        await queue.done("jobs", messages)


async def test_dead_letters_are_shown_and_given_out_again(elasticmq_url: str) -> None:
    settings = queue_settings(elasticmq_url)
    async with SqsQueue(settings) as queue:
        jobs = [f"job-{number:02}" for number in range(13)]
        for job_id in jobs:
            await queue.submit(job_id)
        assert await queue.redrive("jobs") == 0
        await kill_messages(settings, queue, "jobs", len(jobs))
        await assert_empty(queue, "jobs")

        for _ in range(2):  # to look changes nothing
            dead = await queue.dead("jobs")
            assert (dead.count, sorted(dead.subjects)) == (13, jobs)
        assert len((await queue.dead("jobs", limit=3)).subjects) == 3
        assert await queue.redrive("jobs") == 13
        assert (await queue.dead("jobs")).count == 0
        assert sorted(await subjects(queue, "jobs", 13)) == jobs
        assert (await queue.dead("wake-ups")).count == 0


async def test_without_credentials_nothing_is_sent_to_a_cloud(
    monkeypatch: pytest.MonkeyPatch, elasticmq_url: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ConfigurationError, match="no AWS credentials"):
        async with SqsQueue(QueueSettings(kind="sqs", prefix="test")):
            pass
    async with open_queue(elasticmq_url) as queue:
        await assert_empty(queue, "jobs")


async def test_settings_that_cannot_be_used_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="queue's client"):
        async with open_queue("localhost:9324"):
            pass
    monkeypatch.setenv("AWS_PROFILE", "nobody's")
    with pytest.raises(ConfigurationError, match="nobody's"):
        async with open_queue("http://127.0.0.1:9"):
            pass


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("http://127.0.0.1:9324", True),
        ("http://localhost:9324", True),
        ("http://[::1]:9324", True),
        ("https://queue.example", False),
        ("http://10.0.0.7:9324", False),
        (None, False),
    ],
)
def test_what_is_on_this_machine(endpoint: str | None, local: bool) -> None:
    assert is_loopback(endpoint) is local
