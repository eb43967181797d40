"""Traces, as a real receiver gets them: one write through to its index, and nothing personal on the way."""

import asyncio
import re
from time import monotonic

import pytest

from doors import open_door
from factories import event
from sqs_queues import queue_settings
from tallystick.settings import ApiSettings, Settings, TelemetrySettings
from trace_receivers import Received, Receiver, receiving
from working import hurried, working

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"  # pragma: allowlist secret
ASKED_BY = "00f067aa0ba902b7"
DEADLINE = 30.0


def tracing(settings: Settings, receiver: Receiver) -> Settings:
    """The same, but traced."""
    return settings.model_copy(update={"telemetry": receiver.settings})


def told_by(elasticmq_url: str, settings: Settings) -> Settings:
    """The same, but workers learn of work by messages alone: no sweep finds it before."""
    queue = queue_settings(elasticmq_url).model_copy(update={"sweep_interval": 3600.0})
    return hurried(settings).model_copy(update={"queue": queue})


def statements(receiver: Receiver, inside: Received) -> set[str]:
    """What the database was asked inside of a span."""
    return {
        each.span.name
        for each in receiver.spans
        if each.span.parent_span_id == inside.span.span_id and "db.system.name" in each.told
    }


async def test_a_write_is_followed_through_to_its_index(settings: Settings, elasticmq_url: str) -> None:
    async with receiving() as receiver:
        settings = tracing(told_by(elasticmq_url, settings), receiver)
        async with working(settings), open_door(settings) as door:
            await door.make_tenant("acme")
            traced = {**door.bearer(), "traceparent": f"00-{TRACE}-{ASKED_BY}-01"}
            events = [event() for _ in range(7)]
            answer = await door.client.post("/api/v1/logs/bulk", json=events, headers=traced)
            assert answer.status_code in (200, 201)

            request = await receiver.first("POST /api/v1/logs/bulk")
            batch = await receiver.first("append", comes_of=request)
            sent = await receiver.first("send wake-ups", comes_of=batch)
            taken = await receiver.first("receive wake-ups", comes_of=batch)
            followed = [await receiver.first(f"follow {name}", of=7, comes_of=batch) for name in ("search", "rollups")]
            indexed = await receiver.first("index append", of=7)

    assert request.span.trace_id.hex() == TRACE
    assert request.span.parent_span_id.hex() == ASKED_BY
    assert request.told == {
        "http.request.method": "POST",
        "http.route": "/api/v1/logs/bulk",
        "http.response.status_code": answer.status_code,
        "tallystick.request.id": TRACE,
    }
    assert indexed.span.parent_span_id == followed[0].span.span_id
    assert {each.service for each in (request, batch, sent)} == {"tallystick-api"}
    assert {each.service for each in (taken, *followed, indexed)} == {"tallystick-worker"}
    assert statements(receiver, batch) >= {"begin", "commit", "with tallystick.logs"}
    assert "update tallystick.cursors" in statements(receiver, followed[0])


async def test_a_job_comes_of_the_request_that_asked_for_it(settings: Settings, elasticmq_url: str) -> None:
    async with receiving() as receiver:
        settings = tracing(told_by(elasticmq_url, settings), receiver)
        async with working(settings), open_door(settings) as door:
            await door.make_tenant("acme")
            asked = await door.client.post("/api/v1/jobs", json={"kind": "rebuild_index"}, headers=door.bearer())
            assert asked.status_code == 202
            request = await receiver.first("POST /api/v1/jobs")
            sent = await receiver.first("send jobs")
            run = await receiver.first("job rebuild_index", comes_of=sent)
    assert sent.span.parent_span_id == request.span.span_id
    assert run.told["tallystick.job.id"] == asked.json()["id"]
    assert run.told["tallystick.job.state"] == "succeeded"


async def test_an_export_tells_what_it_copied(settings: Settings) -> None:
    async with receiving() as receiver, open_door(tracing(settings, receiver)) as door:
        await door.make_tenant("acme")
        stored = await door.client.post("/api/v1/logs", json=event(), headers=door.bearer())
        assert stored.status_code == 201
        exported = await door.client.get("/api/v1/logs/export", headers=door.bearer())
        assert exported.text.count("\n") == 1
        request = await receiver.first("GET /api/v1/logs/export")
        copied = await receiver.first("copy tallystick.log_events")
    assert copied.span.parent_span_id == request.span.span_id


async def test_nothing_personal_is_told(settings: Settings) -> None:
    planted = iter(f"planted{number:04d}" for number in range(10_000))
    async with receiving() as receiver:
        settings = tracing(hurried(settings), receiver)
        async with working(settings), open_door(settings) as door:
            tenant = next(planted)
            await door.make_tenant(tenant)
            headers = {
                **door.bearer("admin", tenant, subject=next(planted)),
                "user-agent": next(planted),
                "tracestate": f"vendor={next(planted)}",
                "baggage": f"user={next(planted)}",
                "traceparent": f"00-{TRACE}-{ASKED_BY}-01",
                "x-forwarded-for": next(planted),
            }
            body = event(
                user_id=next(planted), action=next(planted), message=next(planted), metadata={"k": next(planted)}
            )
            stored = await door.client.post("/api/v1/logs", json=body, headers=headers)
            assert stored.status_code == 201
            for path in (
                f"/api/v1/logs?user_id={next(planted)}",
                f"/api/v1/logs?q={next(planted)}",
                f"/api/v1/logs/stats?action={next(planted)}",
                f"/api/v1/resources/{next(planted)}/{next(planted)}/history",
                f"/api/v1/logs/{next(planted)}",
                f"/{next(planted)}",
                f"/api/v1/tenants/{next(planted)}",
            ):
                await door.client.get(path, headers=headers)
            await door.client.request("PLANTED9999", "/api/v1/logs", headers=headers)
            await door.client.post("/api/v1/logs", content=f'{{"{next(planted)}": 1}}', headers=headers)
            await receiver.first("index append")
    assert len(receiver.spans) > 20
    assert re.findall(rb"(?i)planted\d+", b"".join(receiver.bodies)) == []
    assert receiver.named("GET")[0].told["http.response.status_code"] == 404  # of the path that no route has


@pytest.mark.parametrize(("trusted", "recorded"), [([], []), (["127.0.0.1"], ["GET /api/v1/logs"])])
async def test_whether_a_request_is_recorded_only_a_trusted_proxy_says(
    settings: Settings, trusted: list[str], recorded: list[str]
) -> None:
    async with receiving() as receiver:
        telemetry = receiver.settings.model_copy(update={"sample_ratio": 0.0})
        api = ApiSettings.model_validate({"trusted_proxies": trusted})
        async with open_door(settings.model_copy(update={"telemetry": telemetry, "api": api})) as door:
            await door.make_tenant("acme")
            headers = {**door.bearer(), "traceparent": f"00-{TRACE}-{ASKED_BY}-01"}
            assert (await door.client.get("/api/v1/logs", headers=headers)).status_code == 200
        assert [each.span.name for each in receiver.spans if each.span.name.startswith("GET")] == recorded


async def test_whoever_watches_is_not_traced(settings: Settings) -> None:
    async with receiving() as receiver:
        async with open_door(tracing(settings, receiver)) as door:
            for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
                assert (await door.client.get(path)).status_code == 200
        assert {each.span.name for each in receiver.spans if each.span.name.startswith("GET")} == {"GET /openapi.json"}


async def test_nobody_who_receives_makes_nothing_slow_and_nothing_fail(settings: Settings) -> None:
    nowhere = TelemetrySettings(endpoint="http://127.0.0.1:1", sample_ratio=1, timeout=1)
    async with open_door(settings.model_copy(update={"telemetry": nowhere})) as door:
        await door.make_tenant("acme")
        async with asyncio.timeout(DEADLINE):
            answers = await asyncio.gather(
                *(door.client.post("/api/v1/logs", json=event(), headers=door.bearer()) for _ in range(20))
            )
        ending = monotonic()
    assert {answer.status_code for answer in answers} == {201}
    assert monotonic() - ending < DEADLINE


async def test_what_a_request_failed_with_is_told_by_its_class_alone(settings: Settings) -> None:
    async with receiving() as receiver, open_door(tracing(settings, receiver)) as door:
        await door.make_tenant("acme")

        @door.app.get("/breaks")
        async def breaks() -> None:
            raise LookupError("planted0001")

        assert (await door.client.get("/breaks")).status_code == 500
        failed = await receiver.first("GET /breaks")
    assert failed.told["error.type"] == "LookupError"
    assert failed.span.status.code == failed.span.status.STATUS_CODE_ERROR
    assert b"planted" not in b"".join(receiver.bodies)
