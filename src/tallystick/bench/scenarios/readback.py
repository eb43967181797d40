"""The proof: each tenant's log is read back over HTTP, and compared with what was acknowledged."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from tallystick.bench.report import Check
from tallystick.bench.requests import get
from tallystick.bench.scenarios.ledger import Comparison, Findings, Ledger
from tallystick.bench.scenarios.sending import RETRIED, Pool
from tallystick.bench.scenarios.target import Target
from tallystick.errors import UnavailableError

_PAGE: Final = 1_000
_AT_ONCE: Final = 4
_PATIENCE: Final = 120.0
_PAUSE: Final = 1.0

Watch = Callable[[int], None]
"""Is told how many events were read."""


async def prove(target: Target, starts: Mapping[str, int], ledgers: Sequence[Ledger], watch: Watch) -> Sequence[Check]:
    """Read back all that was stored since the run began, and compare it.

    Args:
        target: The deployment.
        starts: The last seq of each tenant before the run.
        ledgers: What was sent and acknowledged.
        watch: Told how far it is.

    Raises:
        UnavailableError: The deployment does not answer, for minutes.
    """
    comparison = Comparison(ledgers)
    pool = Pool(target, _AT_ONCE)
    gaps: list[str] = []
    tenants = iter(starts.items())
    read = 0

    async def work() -> None:
        nonlocal read
        for tenant_id, start in tenants:
            following = start + 1
            while True:
                page = await _page(target, pool, tenant_id, following - 1)
                for item in page["items"]:
                    comparison.see(item.get("event_id"), item["id"])
                seqs = [item["seq"] for item in page["items"]]
                if _gap(following, seqs, page.get("removed", ())):
                    gaps.append(tenant_id)
                read += len(seqs)
                watch(read)
                if not seqs:
                    break
                following = seqs[-1] + 1

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(work())
    await pool.end()
    return _exactly_once(comparison.findings()), _without_gap(len(starts), gaps)


async def _page(target: Target, pool: Pool, tenant_id: str, after: int) -> Any:  # noqa: ANN401 - JSON
    query = urlencode({"tenant_id": tenant_id, "order": "seq", "after_seq": after, "limit": _PAGE})
    request = get(target.url, f"/api/v1/logs?{query}", target.tokens[tenant_id], "read back")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    while True:
        answer = await pool.exchange(lambda: request)
        if answer.status == request.expect:
            return orjson.loads(answer.body)
        if answer.status not in RETRIED or loop.time() > deadline:
            raise UnavailableError(f"the log of {tenant_id} cannot be read back: answered {answer.status or 'nothing'}")
        await asyncio.sleep(answer.retry_after or _PAUSE)


def _gap(following: int, seqs: Sequence[int], removed: Iterable[Mapping[str, int]]) -> bool:
    """Whether a page leaves out a seq that was not removed."""
    expected = following
    ranges = sorted((each["first_seq"], each["last_seq"]) for each in removed)
    for seq in seqs:
        for first, last in ranges:
            if first <= expected <= last:
                expected = last + 1
        if seq != expected:
            return True
        expected += 1
    return False


def _exactly_once(found: Findings) -> Check:
    detail = (
        f"{found.acknowledged:,} acknowledged, {found.missing:,} of them missing, {found.doubled:,} stored twice, "
        f"{found.renamed:,} under another id; {found.unanswered:,} stored whose answer did not arrive"
    )
    # Where nothing was acknowledged nothing was shown either.
    held = found.hold and found.acknowledged > 0
    return Check("every acknowledged event is stored exactly once", held, detail)


def _without_gap(tenants: int, gaps: Sequence[str]) -> Check:
    detail = f"gaps in {', '.join(sorted(set(gaps)))}" if gaps else f"{tenants:,} logs were read to their end"
    return Check("each log counts on without a gap", not gaps, detail)
