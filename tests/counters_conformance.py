"""What all counters of rates must do. A test module gives a `counters` fixture and inherits these tests.

Payers are new in each test, since counters may be shared.
"""

import asyncio
from collections.abc import Sequence

from factories import unique
from tallystick.ports import Charge, RateCounters, Window

DEADLINE = 20.0
MINUTE = 60


def used(windows: Sequence[Window]) -> list[int]:
    return [window.used for window in windows]


class CountersConformance:
    """The tests. `counters` may hold what others used."""

    async def test_a_charge_tells_how_its_payers_stood_before(self, counters: RateCounters) -> None:
        ada, acme = unique("ada"), unique("acme")

        assert used(await counters.charge([Charge(ada, 10, 3), Charge(acme, 15, 3)], MINUTE)) == [0, 0]
        assert used(await counters.charge([Charge(ada, 10, 2)], MINUTE)) == [3]
        assert used(await counters.charge([Charge(ada, 10, 1), Charge(acme, 15, 1)], MINUTE)) == [5, 3]

    async def test_what_fits_to_the_last_unit_is_charged_and_nothing_beyond_it(self, counters: RateCounters) -> None:
        ada = unique("ada")

        assert used(await counters.charge([Charge(ada, 10, 10)], MINUTE)) == [0]
        assert used(await counters.charge([Charge(ada, 10, 1)], MINUTE)) == [10]
        assert used(await counters.charge([Charge(ada, 10, 0)], MINUTE)) == [10]

    async def test_all_are_charged_or_none(self, counters: RateCounters) -> None:
        ada, acme = unique("ada"), unique("acme")
        await counters.charge([Charge(ada, 10, 4), Charge(acme, 15, 9)], MINUTE)

        # The first has room and the second has not, and the other way round.
        await counters.charge([Charge(ada, 10, 6), Charge(acme, 15, 7)], MINUTE)
        await counters.charge([Charge(ada, 10, 7), Charge(acme, 15, 6)], MINUTE)

        assert used(await counters.charge([Charge(ada, 10, 6), Charge(acme, 15, 6)], MINUTE)) == [4, 9]
        assert used(await counters.charge([Charge(ada, 10, 0), Charge(acme, 15, 0)], MINUTE)) == [10, 15]

    async def test_a_window_begins_with_the_first_charge_and_others_do_not_prolong_it(
        self, counters: RateCounters
    ) -> None:
        ada = unique("ada")
        (first,) = await counters.charge([Charge(ada, 10, 1)], MINUTE)
        assert first.seconds == MINUTE
        (second,) = await counters.charge([Charge(ada, 10, 1)], MINUTE)
        (third,) = await counters.charge([Charge(ada, 10, 1)], MINUTE)
        assert MINUTE - DEADLINE < third.seconds <= second.seconds <= MINUTE

    async def test_a_window_ends_and_another_begins(self, counters: RateCounters) -> None:
        ada = unique("ada")
        await counters.charge([Charge(ada, 10, 10)], 1)
        async with asyncio.timeout(DEADLINE):
            while used(await counters.charge([Charge(ada, 10, 7)], 1)) == [10]:  # noqa: ASYNC110 - of the counters
                await asyncio.sleep(0.05)
        assert used(await counters.charge([Charge(ada, 10, 0)], 1)) == [7]

    async def test_large_amounts_are_counted_to_the_unit(self, counters: RateCounters) -> None:
        ada, quota = unique("ada"), 2**52
        await counters.charge([Charge(ada, quota, quota - 1)], MINUTE)
        await counters.charge([Charge(ada, quota, 2)], MINUTE)
        await counters.charge([Charge(ada, quota, 1)], MINUTE)
        assert used(await counters.charge([Charge(ada, quota, 1)], MINUTE)) == [quota]

    async def test_many_at_once_get_the_quota_and_no_more(self, counters: RateCounters) -> None:
        ada, acme = unique("ada"), unique("acme")
        charges = [Charge(ada, 50, 1), Charge(acme, 1_000, 1)]

        stood = await asyncio.gather(*(counters.charge(charges, MINUTE) for _ in range(200)))

        assert sum(before.used < 50 for before, _ in stood) == 50
        assert used(await counters.charge([Charge(ada, 50, 0), Charge(acme, 1_000, 0)], MINUTE)) == [50, 50]

    async def test_they_say_that_they_work(self, counters: RateCounters) -> None:
        assert "warning" not in await counters.check()
