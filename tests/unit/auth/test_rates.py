from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from counters_conformance import CountersConformance
from tallystick.auth.counters import MemoryCounters, ProcessCounters
from tallystick.auth.rates import RateLimits, RateMetrics
from tallystick.errors import RateLimitedError, UnavailableError
from tallystick.ports import Charge, Window
from tallystick.settings import RateSettings


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


class Broken(ProcessCounters):
    """Counters that do not answer until they are mended."""

    mended = False

    async def charge(self, charges: Sequence[Charge], window: int) -> Sequence[Window]:
        if not self.mended:
            raise UnavailableError("the shared server of rates failed") from ConnectionError("refused")
        return await super().charge(charges, window)

    async def check(self) -> str:
        raise UnavailableError("the shared server of rates failed")


class TestProcessCounters(CountersConformance):
    @pytest.fixture
    def counters(self) -> ProcessCounters:
        return ProcessCounters()


def limits(principal: int = 10, tenant: int = 15, **changes: Any) -> RateLimits:
    return RateLimits(RateSettings(principal_per_minute=principal, tenant_per_minute=tenant, **changes))


async def test_headers_say_what_is_left() -> None:
    rates = limits()
    await rates.take("iss", "ada", "acme", 3)
    headers = await rates.take("iss", "ada", "acme", 1)
    assert headers["RateLimit-Policy"] == '"principal";q=10;w=60, "tenant";q=15;w=60'
    assert headers["RateLimit"] == '"principal";r=6;t=60, "tenant";r=11;t=60'


async def test_without_a_tenant_only_the_principal_pays() -> None:
    headers = await limits().take("iss", "ada", None, 1)
    assert headers == {"RateLimit-Policy": '"principal";q=10;w=60', "RateLimit": '"principal";r=9;t=60'}


@pytest.mark.parametrize("cost", [1, 2, 10])
async def test_what_was_paid_before_the_tenant_was_known_is_not_counted_again(cost: int) -> None:
    rates = limits()
    await rates.take("iss", "ada", None, 1)
    headers = await rates.take("iss", "ada", "acme", cost, paid=1)
    assert headers["RateLimit"] == f'"principal";r={10 - cost};t=60, "tenant";r={15 - cost};t=60'


async def test_a_rest_over_the_limit_leaves_counted_what_was_paid() -> None:
    rates = limits()
    await rates.take("iss", "ada", "acme", 3)
    await rates.take("iss", "ada", None, 1)
    with pytest.raises(RateLimitedError, match=r"costs 8, .* 6 are left; try again in 60 s"):
        await rates.take("iss", "ada", "acme", 8, paid=1)
    with pytest.raises(RateLimitedError, match=r"costs 11, more than the 10 .* split it"):
        await rates.take("iss", "ada", "acme", 11, paid=1)
    assert (await rates.take("iss", "ada", "acme", 6))["RateLimit"] == '"principal";r=0;t=60, "tenant";r=6;t=60'


async def test_over_the_principals_limit_nothing_is_counted() -> None:
    rates = limits()
    await rates.take("iss", "ada", "acme", 8)
    with pytest.raises(RateLimitedError) as caught:
        await rates.take("iss", "ada", "acme", 3)
    assert caught.value.retry_after == 60
    assert caught.value.headers["RateLimit"] == '"principal";r=2;t=60'
    assert "2 are left" in caught.value.detail
    assert (await rates.take("iss", "ada", "acme", 2))["RateLimit"] == '"principal";r=0;t=60, "tenant";r=5;t=60'


async def test_a_window_that_ended_in_between_does_not_let_a_larger_cost_pass() -> None:
    clock = Clock()
    rates = RateLimits(RateSettings(principal_per_minute=10), ProcessCounters(clock))
    await rates.take("iss", "ada", None, 1)
    clock.seconds += 60
    with pytest.raises(RateLimitedError, match="split it"):
        await rates.take("iss", "ada", None, 11, paid=1)


async def test_over_the_tenants_limit_the_principal_keeps_its_share() -> None:
    rates = limits()
    await rates.take("iss", "ada", "acme", 10)
    with pytest.raises(RateLimitedError, match="a tenant may use 5 are left"):
        await rates.take("iss", "bob", "acme", 6)
    assert (await rates.take("iss", "bob", "other", 10))["RateLimit"].startswith('"principal";r=0;')


async def test_principals_and_tenants_do_not_share() -> None:
    rates = limits()
    for issuer, subject in [("i", "a:b"), ("i:a", "b"), ("i/a", "b"), ("i", "a/b")]:
        await rates.take(issuer, subject, None, 10)
    await rates.take("i", "acme", "acme", 10)


@pytest.mark.parametrize(("cost", "tenant"), [(11, None), (11, "acme")])
async def test_a_request_larger_than_the_window_is_told_to_split(cost: int, tenant: str | None) -> None:
    with pytest.raises(RateLimitedError, match="split it") as caught:
        await limits().take("iss", "ada", tenant, cost)
    assert caught.value.retry_after is None


async def test_a_broken_limiter_shuts_by_default() -> None:
    rates = RateLimits(RateSettings(), Broken())
    with pytest.raises(UnavailableError) as caught:
        await rates.take("iss", "ada", "acme", 1)
    assert "acme" not in caught.value.detail
    assert caught.value.retry_after is not None


async def test_a_broken_limiter_opens_by_setting() -> None:
    assert await RateLimits(RateSettings(on_failure="open"), Broken()).take("iss", "ada", "acme", 1) == {}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "warning: the shared server of rates failed: requests are refused"),
        ({"on_failure": "open"}, "warning: the shared server of rates failed: requests pass uncounted"),
        ({"enabled": False}, "not limited"),
    ],
)
async def test_it_is_told_what_a_broken_limiter_means(changes: dict[str, Any], told: str) -> None:
    assert await RateLimits(RateSettings(**changes), Broken()).check() == told


async def test_a_broken_limiter_is_logged_once_in_a_while_and_counted_always() -> None:
    clock, registry = Clock(), CollectorRegistry()
    rates = RateLimits(RateSettings(on_failure="open"), Broken(), RateMetrics(registry), clock)
    with capture_logs() as logged:
        for _ in range(100):
            await rates.take("iss", "ada", "acme", 1)
        clock.seconds += 11
        await rates.take("iss", "ada", "acme", 1)
    assert [(line["event"], line["reason"], line["let_pass"]) for line in logged] == [
        ("rate_limiter_failed", "refused", True)
    ] * 2
    assert registry.get_sample_value("tallystick_rate_limiter_failures_total") == 101


async def test_a_limiter_that_works_again_limits_again() -> None:
    counters = Broken()
    rates = RateLimits(RateSettings(principal_per_minute=10, on_failure="open"), counters)
    await rates.take("iss", "ada", None, 10)
    counters.mended = True
    assert (await rates.take("iss", "ada", None, 10))["RateLimit"] == '"principal";r=0;t=60'


async def test_limits_can_be_switched_off() -> None:
    assert await limits(enabled=False).take("iss", "ada", "acme", 10**9) == {}


async def test_a_window_ends() -> None:
    clock = Clock()
    counters = MemoryCounters(clock)
    assert await counters.incr("a", 60, 5) == 5
    clock.seconds += 59
    assert await counters.incr("a", 60) == 6
    assert await counters.get_expiry("a") == 1_060
    clock.seconds += 1
    assert await counters.get("a") == 0
    assert await counters.get_expiry("a") == clock.seconds
    assert await counters.incr("a", 60) == 1


async def test_ended_windows_are_swept() -> None:
    clock = Clock()
    counters = MemoryCounters(clock)
    for number in range(1_000):
        await counters.incr(f"k{number}", 60)
    clock.seconds += 61
    await counters.incr("fresh", 60)
    assert await counters.reset() == 1


async def test_counters_can_be_cleared() -> None:
    counters = MemoryCounters()
    await counters.incr("a", 60, 5)
    await counters.clear("a")
    assert await counters.get("a") == 0
    assert await counters.check()


@given(st.lists(st.integers(1, 12), max_size=30))
async def test_what_passes_never_exceeds_the_limits(costs: list[int]) -> None:
    rates = limits(principal=20, tenant=30)
    passed = {"ada": 0, "bob": 0}
    for number, cost in enumerate(costs):
        who = ("ada", "bob")[number % 2]
        fits = passed[who] + cost <= 20 and sum(passed.values()) + cost <= 30
        try:
            await rates.take("iss", who, "acme", cost)
        except RateLimitedError:
            assert not fits
        else:
            assert fits
            passed[who] += cost


async def test_failures_of_an_address_are_bounded_and_nobody_elses() -> None:
    rates = limits(failures_per_minute=2)
    assert [await rates.failed("203.0.113.9") for _ in range(2)] == [None, None]
    refusal = await rates.failed("203.0.113.9")
    assert refusal is not None
    assert refusal.retry_after == 60
    assert refusal.headers == {"RateLimit-Policy": '"address";q=2;w=60', "RateLimit": '"address";r=0;t=60'}
    assert await rates.failed("203.0.113.10") is None
    # What an address fails costs none of those who come from it.
    assert (await rates.take("iss", "ada", "acme", 10))["RateLimit"] == '"principal";r=0;t=60, "tenant";r=5;t=60'


async def test_failures_count_for_nothing_without_limits_or_a_limiter() -> None:
    unlimited = limits(failures_per_minute=1, enabled=False)
    broken = RateLimits(RateSettings(failures_per_minute=1), Broken())
    for rates in (unlimited, broken):
        assert [await rates.failed("203.0.113.9") for _ in range(3)] == [None] * 3
