"""The Postman collection against a live instance, run by newman."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from installations import Instance, installation
from postman.collection import assertions
from postman.declared import DECLARED
from postman.newman import run

REQUESTS = sum(len(requests) for requests in DECLARED.values())

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture(scope="module")
async def instance() -> AsyncGenerator[Instance]:
    async with installation() as instance:
        yield instance


@pytest.mark.parametrize("holding", ["nothing", "what the run before left"])
async def test_every_request_of_the_collection_is_answered_as_it_says(instance: Instance, holding: str) -> None:
    token = await asyncio.to_thread(Path(instance.run.token_file).read_text)
    report = await run(instance.run.url, token.strip(), instance.run.tenant_id)

    assert report.failures == (), "\n".join((f"holding {holding}:", *report.failures, instance.faults()))
    assert (report.requests, report.assertions) == (REQUESTS, assertions(DECLARED))


async def test_a_request_that_fails_is_named(instance: Instance) -> None:
    report = await run(instance.run.url, "no-token", instance.run.tenant_id)

    said = "Append an event / Append an event: The status is 201: expected response to have status code 201 but got 401"
    assert said in report.failures
