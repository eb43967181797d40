"""`tallystick queue`: dead letters shown and given out again, and a queue that has none."""

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from queue_conformance import assert_empty
from sqs_queues import kill_messages, queue_settings
from tallystick.adapters.sqs.queue import SqsQueue
from tallystick.cli.queue import app
from tallystick.settings import QueueSettings

RUN = CliRunner()


@pytest.fixture
def queue_of(monkeypatch: pytest.MonkeyPatch, elasticmq_url: str) -> QueueSettings:
    settings = queue_settings(elasticmq_url)
    monkeypatch.setenv("TALLYSTICK_QUEUE__KIND", "sqs")
    monkeypatch.setenv("TALLYSTICK_QUEUE__ENDPOINT", elasticmq_url)
    monkeypatch.setenv("TALLYSTICK_QUEUE__PREFIX", settings.prefix)
    return settings


async def said(*arguments: str) -> str:
    """Run the command in a thread, since it brings a loop of its own."""
    done = await asyncio.to_thread(RUN.invoke, app, arguments)
    if done.exception is not None:
        raise done.exception
    return done.stdout


async def asked(*arguments: str) -> Any:
    return json.loads(await said(*arguments, "--json"))["queues"]


async def test_dead_letters_are_shown_and_given_out_again(queue_of: QueueSettings) -> None:
    async with SqsQueue(queue_of) as queue:
        for job_id in ("job-1", "job-2"):
            await queue.submit(job_id)
        await kill_messages(queue_of, queue, "jobs", 2)

        nothing: dict[str, object] = {"kind": "wake-ups", "count": 0, "subjects": []}
        assert await asked("dead") == [nothing, {"kind": "jobs", "count": 2, "subjects": ["job-1", "job-2"]}]
        assert len((await asked("dead", "--limit", "1"))[1]["subjects"]) == 1
        assert (await said("dead")).splitlines() == ["wake-ups: 0 dead", "jobs: 2 dead", "  job-1", "  job-2"]
        assert await asked("redrive") == [{"kind": "wake-ups", "moved": 0}, {"kind": "jobs", "moved": 2}]
        assert (await said("redrive")).splitlines() == ["wake-ups: 0 given out again", "jobs: 0 given out again"]

        messages = await queue.receive("jobs", limit=10, wait=1)
        assert sorted(message.subject for message in messages) == ["job-1", "job-2"]
        await queue.done("jobs", messages)
        await assert_empty(queue, "jobs")


async def test_the_embedded_queue_has_no_dead_letters() -> None:
    for command in ("dead", "redrive"):
        assert await asked(command) == []
        assert "no dead letters" in await said(command)
