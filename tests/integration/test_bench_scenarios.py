"""Every load scenario, briefly, against a running instance by its URL alone: over HTTP, over TLS, by bad balancers."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner

from benches import figures, proofs
from certificates import Authority
from deadlines import STEP
from factories import unique
from lossy_balancers import PassOn, balancer
from tallystick.bench.cli import app
from tallystick.bench.instance import Instance, ensure_tenants, instance_in, token_for
from tallystick.errors import ConfigurationError
from tallystick.log.identity import make_id

pytestmark = pytest.mark.slow

WRITES = ("/api/v1/logs", "/api/v1/logs/bulk")


@pytest.fixture(scope="module")
def instance() -> Generator[Instance]:
    with instance_in(None) as running:
        yield running


@pytest.fixture
def token_file(instance: Instance, tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(instance.token)
    return file


def words(name: str, url: str, token_file: Path, *more: str) -> list[str]:
    # How late the generator is says nothing here, where other tests share its cores.
    return ["scenario", name, "--url", url, "--token-file", str(token_file), "--late", "60000", "--json", *more]


def ran(*asked: str, status: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(app, list(asked))
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def acknowledged(report: dict[str, Any]) -> int:
    proof = next(check for check in report["checks"] if "exactly once" in check["name"])
    return int(proof["detail"].split()[0].replace(",", ""))


@pytest.mark.parametrize(
    ("name", "least", "kinds"),
    [
        ("sustained", 40, {"single event, sustained", "bulk of 10, sustained"}),
        ("burst", 80, {"single event, before", "single event, burst", "single event, after"}),
        ("mixed", 40, {"newest 50, mixed", "by id, mixed", "search for a word, mixed", "sync by seq, mixed"}),
        ("tenants", 40, {"event of the 10 busiest, all tenants", "event of the other 10, all tenants"}),
        ("noisy", 500, {"event of the others, alone", "bulk of the flood, beside the flood"}),
    ],
)
def test_a_scenario_loses_nothing_and_is_reported(
    instance: Instance, token_file: Path, tmp_path: Path, name: str, least: int, kinds: set[str]
) -> None:
    page = tmp_path / "report.html"
    more = ["--tenants", "20"] if name == "tenants" else []
    report = ran(
        *words(name, instance.url, token_file, "--duration", "3", "--rate", "20", "--report", str(page), *more)
    )
    assert all(proofs(report)), report["checks"]
    assert acknowledged(report) >= least
    assert kinds <= figures(report).keys()
    assert all(figures(report)[kind]["requests"] for kind in kinds)
    assert "Nothing lost, nothing doubled" in page.read_text()
    assert report["machine"]["server"].startswith("Tallystick ")
    assert instance.token not in page.read_text() + json.dumps(report)
    appended = report["timeline"]["courses"]["Appends"]
    assert sum(appended["acknowledged"]) > 0


def test_over_tls_with_the_certificate_that_is_named_and_not_without(
    instance: Instance, token_file: Path, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    with balancer(instance.url, tls=authority.certificate("balancer").context()) as url:
        brief = words("sustained", url, token_file, "--duration", "1", "--rate", "20")
        report = ran(*brief, "--ca-file", str(authority.file), "--processes", "2")
        assert all(proofs(report))
        assert acknowledged(report) >= 20
        refused = CliRunner().invoke(app, brief)
        assert isinstance(refused.exception, ConfigurationError)
        assert "CERTIFICATE_VERIFY_FAILED" in str(refused.exception)


def test_an_event_that_was_acknowledged_and_dropped_is_noticed(instance: Instance, token_file: Path) -> None:
    numbers = count(1)

    async def drops(request: web.Request, pass_on: PassOn) -> web.Response:
        if request.path == "/api/v1/logs" and request.method == "POST" and next(numbers) % 20 == 0:
            made_up = {"id": make_id(1_764_000_000_000, 7, 7), "seq": 7}
            return web.json_response(made_up, status=201)
        return await pass_on()

    with balancer(instance.url, drops) as url:
        brief = words("sustained", url, token_file, "--duration", "2", "--rate", "60", "--tenants", "2")
        report = ran(*brief, status=1)
    assert not report["passed"]
    failed = [check for check in report["checks"] if not check["passed"] and not check["target"]]
    assert "every acknowledged event is stored exactly once" in [check["name"] for check in failed]


def test_lost_answers_and_refusals_are_retried_and_store_nothing_twice(instance: Instance, token_file: Path) -> None:
    numbers = count(1)

    async def loses(request: web.Request, pass_on: PassOn) -> web.Response:
        number = next(numbers) if request.path in WRITES else 0
        if number > 10 and number % 5 == 0:  # the first ones are those that are looked at before the clock starts
            return web.Response(status=503, headers={"retry-after": "0"})
        answer = await pass_on()
        if number > 10 and number % 5 == 1:
            assert request.transport is not None
            request.transport.abort()
        return answer

    with balancer(instance.url, loses) as url:
        report = ran(*words("sustained", url, token_file, "--duration", "2", "--rate", "60", "--tenants", "3"))
    assert all(proofs(report)), report["checks"]
    statuses = figures(report)["single event, sustained"]["statuses"]
    assert statuses["503"] > 0
    assert statuses["no answer"] > 0
    assert "given_up" not in figures(report)["single event, sustained"]["facts"]


def test_tenants_may_bring_tokens_of_their_own(instance: Instance, tmp_path: Path) -> None:
    names = [unique("load-own") for _ in range(3)]
    ensure_tenants(instance, names)
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({name: token_for(instance, [name], "load") for name in names}))
    report = ran(*words("tenants", instance.url, file, "--duration", "1", "--rate", "30", "--tenants", "3"))
    assert all(proofs(report))
    assert acknowledged(report) >= 30


def test_a_refusal_is_shown_before_anything_is_sent(instance: Instance, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("not.a.token")
    result = CliRunner().invoke(app, words("sustained", instance.url, file, "--duration", "1"))
    assert isinstance(result.exception, ConfigurationError)
    assert "401" in str(result.exception)


def test_an_interrupt_ends_it_early_with_a_report_of_what_was_measured(
    instance: Instance, token_file: Path, tmp_path: Path
) -> None:
    numbers = count(1)
    under_way = threading.Event()

    async def counts(request: web.Request, pass_on: PassOn) -> web.Response:
        if request.path in WRITES and next(numbers) == 400:  # behind the warm-up
            under_way.set()
        return await pass_on()

    output = tmp_path / "report.json"
    with balancer(instance.url, counts) as url:
        asked = words("sustained", url, token_file, "--duration", "3600", "--rate", "100", "--output", str(output))
        process = subprocess.Popen(
            [sys.executable, "-m", "tallystick", "bench", *asked], stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            assert under_way.wait(STEP)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to all of its processes
            assert process.wait(STEP) == 0
        finally:
            process.kill()
    report = json.loads(output.read_text())
    assert all(proofs(report))
    assert acknowledged(report) >= 50
    assert figures(report)["single event, sustained"]["seconds"] < 3600
