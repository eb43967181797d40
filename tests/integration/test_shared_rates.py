"""Rates that all API processes count in one server, while it works and while it does not."""

import asyncio
import multiprocessing
import re
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from valkey.asyncio import Valkey

from certificates import Authority
from counters_conformance import MINUTE, CountersConformance, used
from doors import open_door
from factories import event, unique
from shared_rates import PATIENCE, hammer, shared_counters
from tallystick.adapters.valkey import ValkeyCounters
from tallystick.auth.rates import RateLimits, RateMetrics
from tallystick.errors import RateLimitedError, UnavailableError
from tallystick.ports import Charge
from tallystick.runtime.servers.local import free_port
from tallystick.settings import RateSettings, Settings
from valkey_servers import ValkeyServer, running, valkey_program

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "share-rate-limits.md"
DEADLINE = 20.0
TIMEOUT = 3.0


@pytest.fixture
def server(tmp_path: Path) -> Generator[ValkeyServer]:
    """A server that the test may kill."""
    with running(ValkeyServer(valkey_program(), tmp_path)) as started:
        yield started


@asynccontextmanager
async def administering(server: ValkeyServer) -> AsyncGenerator[Any]:
    """A client of the server, for what no process of ours does."""
    async with Valkey(host="127.0.0.1", port=server.port) as client:
        yield client


async def until_charged(counters: ValkeyCounters, payer: str) -> None:
    """Wait until a charge works again."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                await counters.charge([Charge(payer, 10, 1)], MINUTE)
            except UnavailableError:
                await asyncio.sleep(0.02)
            else:
                return


class TestValkeyCounters(CountersConformance):
    @pytest_asyncio.fixture
    async def counters(self, valkey_url: str) -> AsyncGenerator[ValkeyCounters]:
        async with shared_counters(valkey_url) as opened:
            yield opened


async def test_several_processes_let_exactly_the_limit_pass(valkey_url: str) -> None:
    subject, tenant = unique("ada"), unique("acme")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        loop = asyncio.get_running_loop()
        sent = [loop.run_in_executor(processes, hammer, valkey_url, subject, tenant, 20, 10) for _ in range(2)]
        passed = await asyncio.gather(*sent)

    # 400 requests of 3 each: the tenant's 700 suffice for 233, and 1 is left.
    assert sum(passed) == 233
    assert min(passed) > 0
    async with shared_counters(valkey_url) as counters:
        rates = RateLimits(RateSettings(principal_per_minute=1_000, tenant_per_minute=700), counters)
        left = (await rates.take("iss", subject, tenant, 1))["RateLimit"]
    # Who was refused for the tenant's sake paid nothing itself.
    assert "r=300;" in left.split(", ")[0]
    assert "r=0;" in left.split(", ")[1]


async def test_the_server_learns_no_names_and_forgets_in_a_minute(server: ValkeyServer) -> None:
    async with shared_counters(server.url) as counters:
        rates = RateLimits(RateSettings(), counters)
        await rates.take("https://issuer.example", "ada@example.com", "acme", 1)
    async with administering(server) as client:
        keys = [key.decode() for key in await client.keys()]
        assert len(keys) == 2
        for key in keys:
            tag, _, name = key.partition(":")
            assert tag == "{tallystick}"
            assert len(bytes.fromhex(name)) == 32
            assert 0 < await client.pttl(key) <= 60_000


async def test_a_restarted_server_is_used_again(server: ValkeyServer) -> None:
    async with shared_counters(server.url) as counters:
        await counters.charge([Charge("ada", 10, 4)], MINUTE)
        server.kill()
        with pytest.raises(UnavailableError):
            await counters.charge([Charge("ada", 10, 1)], MINUTE)
        with pytest.raises(UnavailableError, match="ConnectionError"):
            await counters.check()
        server.start()
        await until_charged(counters, "ada")
        # It forgot what it counted, the script too, and counts anew.
        assert used(await counters.charge([Charge("ada", 10, 1)], MINUTE)) == [1]


@asynccontextmanager
async def resettable(port: int) -> AsyncGenerator[tuple[str, Callable[[], None]]]:
    """A way to a server whose connections can be reset, as a firewall does to those that are silent."""
    ends: list[asyncio.StreamWriter] = []

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while carried := await source.read(65_536):
                target.write(carried)
        target.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, to_server), carry(from_server, writer))

    def reset() -> None:
        while ends:
            end = ends.pop()
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()

    async with await asyncio.start_server(lead, "127.0.0.1", 0) as listener:
        yield f"valkey://127.0.0.1:{listener.sockets[0].getsockname()[1]}", reset


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
async def test_a_connection_that_was_reset_holds_nobody(
    server: ValkeyServer, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    """On both loops, as they differ in what they say of a write to what is closed; the API runs on uvloop."""

    async def lose() -> None:
        async with resettable(server.port) as (url, reset), shared_counters(url) as counters:
            await until_charged(counters, "ada")
            reset()
            for _ in range(10):  # turns of the loop, in which both ends see it
                await asyncio.sleep(0)
            async with asyncio.timeout(DEADLINE):  # which is less than its own time-out
                with pytest.raises(UnavailableError):
                    await counters.charge([Charge("ada", 10, 1)], MINUTE)
            await until_charged(counters, "ada")

    await asyncio.to_thread(run, lose())


async def test_a_server_that_hangs_holds_nobody_longer_than_the_timeout(server: ValkeyServer) -> None:
    loop = asyncio.get_running_loop()
    async with shared_counters(server.url, timeout=TIMEOUT) as counters:
        await until_charged(counters, "ada")
        server.pause()
        begun = loop.time()
        # More than go together: some wait for the next trip.
        sent = [counters.charge([Charge("ada", 1_000, 1)], MINUTE) for _ in range(150)]
        answers = await asyncio.gather(*sent, return_exceptions=True)
        assert {type(answer) for answer in answers} == {UnavailableError}
        assert loop.time() - begun < 2 * TIMEOUT

        # From then on nobody waits for it.
        begun = loop.time()
        for _ in range(20):
            with pytest.raises(UnavailableError, match="TimeoutError"):
                await counters.charge([Charge("ada", 1_000, 1)], MINUTE)
        assert loop.time() - begun < TIMEOUT

        server.kill()
        server.start()
        await until_charged(counters, "ada")


async def test_a_primary_that_became_a_replica_is_left(server: ValkeyServer) -> None:
    async with shared_counters(server.url) as counters, administering(server) as admin:
        await counters.charge([Charge("ada", 10, 1)], MINUTE)
        before = {client["id"] for client in await admin.client_list()}
        await admin.replicaof("127.0.0.1", 1)
        with pytest.raises(UnavailableError, match="ReadOnlyError"):
            await counters.charge([Charge("ada", 10, 1)], MINUTE)
        with pytest.raises(UnavailableError, match="ReadOnlyError"):
            await counters.check()
        await admin.replicaof("NO", "ONE")
        await until_charged(counters, "ada")
        # Over a new connection, which may lead elsewhere.
        after = {client["id"] for client in await admin.client_list()}
        assert before & after == {str(await admin.client_id())}


async def test_the_counters_of_a_request_lie_in_one_slot_of_a_cluster(tmp_path: Path) -> None:
    more = ["cluster-enabled yes", f"cluster-port {free_port()}"]
    with running(ValkeyServer(valkey_program(), tmp_path, more=more)) as node:
        async with administering(node) as admin, shared_counters(node.url) as counters:
            with pytest.raises(UnavailableError, match="CLUSTERDOWN"):
                await counters.check()
            await admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await until_charged(counters, "ada")
            both = [Charge("ada", 10, 2), Charge("acme", 10, 2)]
            assert used(await counters.charge(both, MINUTE)) == [1, 0]


async def test_a_server_that_is_full_is_a_failure(server: ValkeyServer) -> None:
    async with shared_counters(server.url) as counters, administering(server) as admin:
        await admin.config_set("maxmemory", "1")
        with pytest.raises(UnavailableError, match="OutOfMemoryError"):
            await counters.charge([Charge("ada", 10, 1)], MINUTE)
        await admin.config_set("maxmemory", "0")
        await until_charged(counters, "ada")


async def test_a_user_needs_its_password_and_the_rights_that_are_documented(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    rules = re.search(r"^user tallystick on >PASSWORD (.*)$", HOW_TO.read_text(), re.MULTILINE)
    assert rules is not None
    limited = ValkeyServer(
        valkey_program(),
        tmp_path,
        user="tallystick",
        password="hunter2",  # pragma: allowlist secret
        rules=f"{rules[1]} +select",
    )
    with running(limited) as server:
        given: list[dict[str, Any]] = [{"password": SecretStr("hunter2")}, {"password_file": file}]
        for password in given:
            async with shared_counters(server.url + "/1", user="tallystick", **password) as counters:
                await counters.check()
        async with shared_counters(server.url, user="tallystick", password=SecretStr("wrong")) as counters:
            with pytest.raises(UnavailableError, match="AuthenticationError"):
                await counters.check()
        async with shared_counters(server.url) as counters:
            with pytest.raises(UnavailableError, match="AuthenticationError"):
                await counters.check()


async def test_tls_lets_only_the_server_in_that_the_authority_vouches_for(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    own = authority.certificate("valkey")
    elsewhere = authority.certificate("elsewhere", "127.0.0.2")
    program = valkey_program()

    def shown(certificate: Path, key: Path) -> dict[str, Path]:
        return {"tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": authority.file}

    with running(ValkeyServer(program, tmp_path, tls=shown(own.file, own.key))) as server:
        assert server.url.startswith("valkeys://")
        for url in (server.url, server.url.replace("valkeys", "rediss")):
            async with shared_counters(url, ca_file=authority.file) as counters:
                assert used(await counters.charge([Charge(url, 10, 1)], MINUTE)) == [0]
        for refused in (
            shared_counters(server.url, ca_file=other.file),
            shared_counters(server.url),
            shared_counters(server.url.replace("valkeys", "valkey")),
        ):
            async with refused as counters:
                with pytest.raises(UnavailableError):
                    await counters.check()

    with running(ValkeyServer(program, tmp_path, tls=shown(elsewhere.file, elsewhere.key))) as server:
        async with shared_counters(server.url, ca_file=authority.file) as counters:
            with pytest.raises(UnavailableError):
                await counters.check()


async def test_what_is_counted_and_refused_is_in_the_metrics(valkey_url: str) -> None:
    registry = CollectorRegistry()
    metrics = RateMetrics(registry)
    async with shared_counters(valkey_url, metrics.seconds.observe) as counters:
        rates = RateLimits(RateSettings(principal_per_minute=5, tenant_per_minute=6), counters, metrics)
        tenant = unique("acme")
        await rates.take("iss", unique("ada"), tenant, 4)
        for cost in (3, 6):
            with pytest.raises(RateLimitedError):
                await rates.take("iss", unique("bob"), tenant, cost)

    limited = [
        registry.get_sample_value("tallystick_rate_limited_total", {"limit": limit})
        for limit in ("tenant", "principal")
    ]
    assert limited == [1, 1]
    assert registry.get_sample_value("tallystick_rate_limiter_seconds_count") == 3
    assert registry.get_sample_value("tallystick_rate_limiter_failures_total") == 0


@pytest.mark.parametrize(("on_failure", "meanwhile"), [("closed", 503), ("open", 201)])
async def test_requests_survive_the_loss_of_the_server(
    settings: Settings, server: ValkeyServer, on_failure: str, meanwhile: int
) -> None:
    rates = RateSettings(url=server.url, on_failure=on_failure, timeout=PATIENCE)  # pyright: ignore[reportArgumentType]
    async with open_door(settings.model_copy(update={"rates": rates})) as door:
        await door.make_tenant("acme")
        headers = door.bearer()

        async def post(*, counted: bool) -> int:
            answer = await door.client.post("/api/v1/logs", json=event(), headers=headers)
            assert ("RateLimit" in answer.headers) == counted
            if answer.status_code == 503:
                assert int(answer.headers["retry-after"]) > 0
                assert answer.json()["type"].endswith("unavailable")
            return answer.status_code

        async def check() -> str:
            answer = await door.client.get("/readyz")
            assert answer.status_code == 200
            return {each["name"]: each["detail"] for each in answer.json()["checks"]}["rates"]

        assert await post(counted=True) == 201
        assert await check() == "the shared server counts"

        server.kill()
        assert {await post(counted=False) for _ in range(10)} == {meanwhile}
        assert door.services.registry.get_sample_value("tallystick_rate_limiter_failures_total") == 10
        async with asyncio.timeout(DEADLINE):
            while not (found := await check()).startswith("warning: "):  # noqa: ASYNC110 - it is remembered
                await asyncio.sleep(0.05)
        assert found.endswith("requests are refused" if on_failure == "closed" else "requests pass uncounted")

        server.start()
        async with asyncio.timeout(DEADLINE):
            while (await check()).startswith("warning: "):  # noqa: ASYNC110 - it is remembered
                await asyncio.sleep(0.05)
        assert await post(counted=True) == 201
