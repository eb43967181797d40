"""The most frequent values out of what several sources tell: what is called exact, is."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tallystick.query.ranking import Bounds, Ranking, contenders, merge, ranking_of, settled, top

values = st.sampled_from([f"v{number}" for number in range(9)])
sources = st.lists(st.lists(values, max_size=30), max_size=5)


def told(events: list[str], size: int) -> Ranking:
    """What a source tells that gives its most frequent values alone."""
    counted = Counter(events).most_common()
    shown = {value: Bounds(count, count) for value, count in counted[:size]}
    return Ranking(shown, min(bounds.least for bounds in shown.values()) if len(counted) > size else 0)


@given(sources=sources, size=st.integers(1, 9), limit=st.integers(1, 6))
def test_what_is_called_exact_is(sources: list[list[str]], size: int, limit: int) -> None:
    merged = merge([told(events, size) for events in sources])
    truth = Counter(value for events in sources for value in events)
    for value, bounds in merged.counts.items():
        assert bounds.least <= truth[value] <= bounds.most
    assert all(truth[value] <= merged.unseen for value in truth.keys() - merged.counts.keys())
    found = top(merged, limit)
    if found.exact:
        assert all(truth[value] == count for value, count in found.items)
        assert [count for _, count in found.items] == sorted(truth.values(), reverse=True)[:limit]


@given(sources=sources, size=st.integers(1, 9), limit=st.integers(1, 6))
def test_the_first_are_among_the_contenders_or_untold(sources: list[list[str]], size: int, limit: int) -> None:
    """So that a ranking is exact once these are counted, unless what no source told may be as frequent."""
    merged = merge([told(events, size) for events in sources])
    truth = Counter(value for events in sources for value in events)
    found = top(settled(merged, {value: truth[value] for value in contenders(merged, limit)}), limit)
    first = sorted(truth.items(), key=lambda item: (-item[1], item[0]))[:limit]
    if merged.unseen < (found.items[-1][1] if len(found.items) == limit else 1):
        assert found == (tuple(first), True)


@given(sources=sources, limit=st.integers(1, 6))
def test_sources_that_tell_all_give_all(sources: list[list[str]], limit: int) -> None:
    truth = Counter(value for events in sources for value in events)
    expected = tuple(sorted(truth.items(), key=lambda item: (-item[1], item[0]))[:limit])
    assert top(merge([ranking_of(events) for events in sources]), limit) == (expected, True)


def test_what_is_not_known_is_not_called_exact() -> None:
    assert not top(Ranking({"a": Bounds(5, 6)}, 0), 1).exact, "its count may be more"
    assert not top(Ranking({"a": Bounds(5, 5), "b": Bounds(4, 6)}, 0), 1).exact, "another may be more frequent"
    assert not top(Ranking({"a": Bounds(5, 5)}, 6), 1).exact, "one that was not told may be"
    assert not top(Ranking({"a": Bounds(5, 5)}, 1), 2).exact, "one that was not told is missing"
    assert top(Ranking({"a": Bounds(5, 5), "b": Bounds(1, 3)}, 4), 1) == ((("a", 5),), True)


def test_nothing_is_no_value() -> None:
    assert ranking_of(["", "a", ""]) == Ranking({"a": Bounds(1, 1)}, 0)
