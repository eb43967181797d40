"""All that is measured on a new instance in one run."""

from tallystick.bench import access, arriving, crowding, removing, writing
from tallystick.bench.instance import Instance
from tallystick.bench.removing import Bar
from tallystick.bench.report import Report, Say, joined
from tallystick.bench.writing import Plan


async def on_a_new_instance(instance: Instance, plan: Plan, say: Say, bar: Bar, count: int) -> Report:
    """Measure writes, what recording a read costs, and what writers feel of retention.

    Args:
        instance: Whose tenants and events nobody needs.
        plan: Of the writes; what else is measured takes as long.
        say: Told what is done.
        bar: Shows how far something is.
        count: Tenants of which a hundred write at once.
    """
    whole = plan.seconds * plan.rounds
    return joined(
        "new instance",
        [
            await writing.single(instance, plan, say, baseline=True, with_bulk=True),
            await writing.bulk(instance, plan, say, raw_copy=True),
            await crowding.noisy(instance, plan, say),
            await crowding.tenants(instance, plan, say, count=count),
            await crowding.memory(instance, Plan(whole, 1), say),
            await _recorded_reads(instance, plan, bar),
            await removing.removal(
                instance, removing.RemovalPlan(removing.EVENTS, whole, arriving.RATE, passed=False), bar
            ),
        ],
    )


async def _recorded_reads(instance: Instance, plan: Plan, bar: Bar) -> Report:
    with bar("reading") as progress:
        wanted = access.AccessPlan(access.EVENTS, plan.seconds / 4, plan.rounds, arriving.RATE)
        return await access.access(instance, wanted, progress)
