"""A tenant's masker: its settings, its keys where it needs them, and nothing stored where they are not to be had."""

from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tallystick.auth.tenancy import TenantState
from tallystick.errors import UnavailableError
from tallystick.privacy.masking.metrics import MaskingMetrics
from tallystick.privacy.masking.rules import Action, Finding
from tallystick.privacy.masking.service import Masking
from tallystick.privacy.sealing import DataKeys

SALT = bytes(12)


class Sealers:
    """Keys of every tenant, unless they are away."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False

    async def of(self, tenant_id: str) -> DataKeys:
        self.asked.append(tenant_id)
        if self.away:
            raise UnavailableError("away")
        return DataKeys(tenant_id, "k1", {"k1": bytes(32)}, bytes(32))


def tenant(tenant_id: str = "acme", **masking: Any) -> TenantState:
    settings = {"masking": masking} if masking else {}
    return TenantState(tenant_id, {"events": 1}, suspended=False, settings=settings)


@pytest.fixture
def sealers() -> Sealers:
    return Sealers()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def masking(sealers: Sealers, registry: CollectorRegistry) -> Masking:
    return Masking(sealers, MaskingMetrics(registry))


async def test_keys_are_asked_for_where_a_rule_needs_them_alone(masking: Masking, sealers: Sealers) -> None:
    chosen: list[dict[str, Any]] = [{}, {"preset": "pci"}, {"preset": "none"}, {"actions": {"email": "hash"}}]
    for settings in chosen:
        await masking.of(tenant(**settings))
    assert sealers.asked == []
    masker = await masking.of(tenant("globex", actions={"password": "hash"}))
    assert sealers.asked == ["globex"]
    event = {"metadata": {"password": "x"}}
    masker.mask(event, SALT)
    assert event["metadata"]["password"].startswith("hmac:")


async def test_two_tenants_have_two_digests(masking: Masking) -> None:
    digests: list[Any] = []
    for tenant_id in ("acme", "globex"):
        event: dict[str, Any] = {"metadata": {"password": "x"}}
        (await masking.of(tenant(tenant_id, actions={"password": "hash"}))).mask(event, SALT)
        digests.append(event["metadata"]["password"])
    assert digests[0] != digests[1]


async def test_without_its_keys_nothing_of_a_tenant_is_taken(masking: Masking, sealers: Sealers) -> None:
    sealers.away = True
    with pytest.raises(UnavailableError, match="away"):
        await masking.of(tenant(actions={"password": "encrypt"}))
    assert await masking.of(tenant())


async def test_settings_that_it_cannot_read_are_not_taken_for_none(masking: Masking) -> None:
    newer: list[dict[str, Any]] = [{"preset": "newer"}, {"rules": []}, {"detectors": {"newer": True}}]
    for settings in newer:
        with pytest.raises(UnavailableError, match="set them anew"):
            await masking.of(tenant(**settings))


def counted(registry: CollectorRegistry, findings: Iterable[Finding]) -> list[float | None]:
    return [
        registry.get_sample_value("tallystick_masked_total", {"rule": one.rule, "action": one.action})
        for one in findings
    ]


async def test_what_is_stored_counts_and_what_is_tried_does_not(masking: Masking, registry: CollectorRegistry) -> None:
    settings: dict[str, Any] = {"names": {"badge": "drop"}, "actions": {"password": "drop"}}
    expected = [
        Finding("/metadata/Password", "password", Action.DROP, "name"),
        Finding("/metadata/badge", "own_name", Action.DROP, "name"),
    ]
    for how in (await masking.trial(tenant(), settings), await masking.of(tenant(**settings))):
        assert how.mask({"metadata": {"Password": "x", "badge": "y"}}, SALT) == expected
    assert counted(registry, expected) == [1, 1]


async def test_a_trial_without_settings_is_of_the_tenants_own(masking: Masking) -> None:
    event = {"metadata": {"password": "x"}}
    assert (await masking.trial(tenant(preset="none"), None)).mask(event, SALT) == []
    assert len((await masking.trial(tenant(preset="none"), {})).mask(event, SALT)) == 1
