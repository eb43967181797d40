"""What masking costs: requests of a tenant that masks, in turns with the same ones of a tenant that does not."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

from tallystick.bench.instance import Instance, ensure_tenants, probe
from tallystick.bench.proof import Size, check_log, log_size
from tallystick.bench.report import Figure, Report, Say, at_least, median_of, ratio
from tallystick.bench.writing import BULK_EVENTS, Plan, bulk_load, measure, single_load
from tallystick.bench.wrk import Load

_OFF: Final = "bench-unmasked"
_ON: Final = "bench-masked"
_DIRTY: Final = "bench-secrets"
_HOW: Final = {_OFF: "unmasked", _ON: "masking on", _DIRTY: "a secret in one of ten"}
_EVERY: Final = 10
_LEAST: Final = {"single POST": 0.85, "bulk of 500": 0.75}
"""Share of the rate without masking that must be left with it."""


@dataclass(slots=True)
class _Tenant:
    """One tenant in the comparison: what it sends, and what was measured of it."""

    before: Size
    loads: dict[str, tuple[Load, int]]
    figures: dict[str, list[Figure]] = field(default_factory=dict[str, list[Figure]])

    @property
    def acknowledged(self) -> int:
        return sum(
            figure.requests * self.loads[what][1] for what, figures in self.figures.items() for figure in figures
        )


async def masking(instance: Instance, plan: Plan, say: Say) -> Report:
    """Measure single and bulk requests with and without masking, and with secrets to mask."""
    ensure_tenants(instance, [_OFF], {"masking": {"preset": "none"}})
    ensure_tenants(instance, [_ON, _DIRTY])
    url = instance.postgres().url
    tenants = {name: _Tenant(await log_size(url, name), _loads(instance, name, plan.seconds)) for name in _HOW}
    for number in range(1, plan.rounds + 1):
        for what in _LEAST:
            for name, tenant in tenants.items():
                say(f"{what}, {_HOW[name]}, round {number} of {plan.rounds}")
                load, events = tenant.loads[what]
                figure = measure(f"{what}, {_HOW[name]}", load, events, instance.groups)
                tenant.figures.setdefault(what, []).append(figure)
    figures: list[Figure] = []
    ratios: dict[str, float] = {}
    checks = [await check_log(url, name, tenant.before, tenant.acknowledged) for name, tenant in tenants.items()]
    for what, least in _LEAST.items():
        plain, masked, dirty = (median_of(tenant.figures[what]) for tenant in tenants.values())
        figures += [plain, masked, dirty]
        for figure in (masked, dirty):
            ratios[f"{figure.name}, to unmasked"] = ratio(figure, plain)
        checks.append(at_least(f"{masked.name}, to unmasked", ratio(masked, plain), least))
    return Report("masking", tuple(figures), tuple(checks), ratios)


def _loads(instance: Instance, tenant_id: str, seconds: float) -> dict[str, tuple[Load, int]]:
    single = single_load(instance.url, instance.token, [tenant_id], seconds)
    bulk = bulk_load(instance.url, instance.token, [tenant_id], seconds)
    if tenant_id == _DIRTY:
        single, bulk = (
            replace(single, bodies=_with_secrets(single.bodies)),
            replace(bulk, bodies=_with_lists(bulk.bodies)),
        )
    probe(instance, single.bodies[0])
    probe(instance, bulk.bodies[0], "/logs/bulk")
    return {"single POST": (single, 1), "bulk of 500": (bulk, BULK_EVENTS)}


def _with_lists(bodies: Sequence[bytes]) -> list[bytes]:
    return [
        b"[" + b",".join(_with_secrets([orjson.dumps(one) for one in orjson.loads(body)])) + b"]" for body in bodies
    ]


def _with_secrets(events: Sequence[bytes]) -> list[bytes]:
    """The same events, every tenth with a password in `metadata`."""
    return [_leaking(event) if number % _EVERY == 0 else event for number, event in enumerate(events)]


def _leaking(event: bytes) -> bytes:
    fields = orjson.loads(event)
    return orjson.dumps({**fields, "metadata": {**fields["metadata"], "password": "correct horse"}})
