"""Runs a scenario from its first request to its proof."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import uvloop

from tallystick.bench.scenarios import figures
from tallystick.bench.scenarios.generating import Watch, generate, orders
from tallystick.bench.scenarios.model import Group, Scenario
from tallystick.bench.scenarios.page import Measured
from tallystick.bench.scenarios.readback import prove
from tallystick.bench.scenarios.target import Target, prepare
from tallystick.bench.scenarios.timeline import timeline


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run.

    Attributes:
        scenario: What is sent.
        target: Where to.
        processes: That send.
        connections: Most at once.
        late_ms: How late the generator itself may be at its p99.
        command: That runs it again.
    """

    scenario: Scenario
    target: Target
    processes: int
    connections: int
    late_ms: float
    command: str


def run(plan: Plan, watch: Watch, watch_reading: Callable[[int], None]) -> Measured:
    """Send all of it, read it back, and make figures of what was measured.

    Args:
        plan: What is to be run.
        watch: Told how it goes.
        watch_reading: Told how many events were read back.

    Raises:
        ConfigurationError: The deployment refuses, or the generator was the bottleneck.
        UnavailableError: What was stored cannot be read back.
    """
    name = secrets.token_hex(6)
    reads = any(stream.group is Group.READS for stream in plan.scenario.streams)
    ground = prepare(plan.target, name, seeded=reads)
    began = datetime.now(UTC)
    divided = orders(plan.target, plan.scenario, ground, name, processes=plan.processes, connections=plan.connections)
    outcome = generate(divided, watch)
    ledgers = [end.ledger for end in outcome.ends]
    proof = uvloop.run(prove(plan.target, ground.starts, ledgers, watch_reading))
    went = plan.scenario
    if outcome.interrupted_at is not None:
        went = went.shortened(outcome.interrupted_at)
    found = figures.rows(went, outcome.samples)
    report = figures.report(went, found, outcome, proof)
    if report.passed:  # what was lost is told even where the figures are the generator's
        figures.insist_on_time([row for row in found if row.phase.measured], plan.late_ms)
    facts = {
        "url": plan.target.url,
        "began": began.isoformat(sep=" ", timespec="seconds"),
        "server": f"Tallystick {ground.version}",
        "tenants": f"{went.tenants}",
        "processes": f"{len(ledgers)}",
        "connections": f"{plan.connections} at most",
    }
    return Measured(went, report, found, timeline(went, outcome.samples), outcome.samples, facts, plan.command)
