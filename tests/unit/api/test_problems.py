from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Query
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

from tallystick.api.app import surround
from tallystick.api.metrics import HttpMetrics
from tallystick.api.problems import install_problem_handlers, problem_classes
from tallystick.api.remedies import REMEDIES
from tallystick.errors import Flaw, InvalidError, RateLimitedError, TallystickError, UnavailableError
from tallystick.settings import ApiSettings


def client(error: Exception | None = None) -> httpx.AsyncClient:
    """A small application that raises what it is told to."""
    app = FastAPI(openapi_url=None)
    install_problem_handlers(app)

    @app.get("/things")
    async def things(size: int = Query(1, le=5)) -> int:
        if error is not None:
            raise error
        return size

    @app.post("/things")
    async def make() -> None: ...

    surround(app, HttpMetrics(CollectorRegistry()), ApiSettings(max_body_bytes=1024))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tallystick.test")


async def problem(error: Exception) -> tuple[httpx.Response, dict[str, Any]]:
    async with client(error) as http:
        answer = await http.get("/things", headers={"x-request-id": "r/1"})
    assert answer.headers["content-type"] == "application/problem+json"
    return answer, answer.json()


def test_every_kind_has_a_slug_of_its_own_and_a_remedy() -> None:
    def count(cls: type[TallystickError]) -> int:
        # What is raised within a worker alone is never told to a client, and has no slug of its own.
        return ("slug" in vars(cls)) + sum(map(count, cls.__subclasses__()))

    assert len(problem_classes()) == count(TallystickError)
    assert set(REMEDIES) == set(problem_classes())


async def test_an_error_of_the_tree_is_a_problem_document() -> None:
    error = InvalidError("no", flaws=[Flaw("bad", pointer="/a", index=3), Flaw("worse", parameter="p")])
    answer, body = await problem(error)
    assert answer.status_code == 422
    assert body == {
        "type": "/problems/invalid",
        "title": InvalidError.title,
        "status": 422,
        "detail": "no",
        "instance": "urn:tallystick:request:r%2F1",
        "errors": [{"index": 3, "pointer": "/a", "detail": "bad"}, {"parameter": "p", "detail": "worse"}],
    }


async def test_headers_and_waiting_times_go_along() -> None:
    answer, _ = await problem(RateLimitedError("slow", retry_after=7, headers={"RateLimit": "x"}))
    assert (answer.headers["retry-after"], answer.headers["ratelimit"]) == ("7", "x")
    answer, _ = await problem(UnavailableError("down"))
    assert answer.headers["retry-after"] == "1"


async def test_a_bug_is_told_to_nobody_but_the_log() -> None:
    answer, body = await problem(RuntimeError("password=hunter2 in select * from secrets"))
    assert answer.status_code == 500
    assert body["type"] == "/problems/internal-error"
    assert "hunter2" not in answer.text
    assert "select" not in answer.text
    assert answer.headers["x-request-id"] == "r/1"


async def test_an_unknown_path_and_method_are_problems_too() -> None:
    async with client() as http:
        missing = await http.get("/nothing")
        assert (missing.status_code, missing.json()["type"]) == (404, "/problems/not-found")
        wrong = await http.delete("/things")
        assert (wrong.status_code, wrong.json()["type"]) == (405, "/problems/method-not-allowed")
        assert wrong.headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_options_lists_the_methods() -> None:
    async with client() as http:
        answer = await http.options("/things")
        assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
        assert (await http.options("/nothing")).status_code == 404


async def test_a_parameter_that_is_not_valid_is_named_and_not_repeated() -> None:
    async with client() as http:
        answer = await http.get("/things?size=%3Cscript%3E")
    assert answer.status_code == 422
    assert [flaw["parameter"] for flaw in answer.json()["errors"]] == ["size"]
    assert "script" not in answer.text


@pytest.mark.parametrize(("status", "kind"), [(418, "about:blank"), (403, "/problems/forbidden")])
async def test_what_others_raise_keeps_its_status(status: int, kind: str) -> None:
    answer, body = await problem(HTTPException(status, "tea"))
    assert answer.status_code == status
    assert (body["type"], body["detail"]) == (kind, "tea")
