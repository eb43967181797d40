"""What the page about search says in figures is what the code does unless it is told otherwise."""

from pathlib import Path

from tallystick.followers.embedded import POLL_SECONDS
from tallystick.followers.engine import STRETCHES_A_TURN, Pace
from tallystick.search.tail import MAX_BYTES
from tallystick.settings import QueueSettings, SearchSettings

PAGE = " ".join((Path(__file__).parents[3] / "docs" / "explanation" / "search.md").read_text().split())
WORDS = {
    0.2: "five times a second",
    1.0: "a second",
    2: "two",
    4: "four",
    5.0: "five seconds",
    10.0: "ten seconds",
    30.0: "half a minute",
    100: "a hundred",
}


def test_the_figures_are_the_defaults() -> None:
    search, pace = SearchSettings(), Pace()
    said = (
        f"once {search.commit_events:,} of its events wait, or one has waited for {WORDS[search.commit_seconds]}",
        f"is written at most every {WORDS[search.slow_seconds]}: with fewer than {search.slow_events} new events",
        f"It may have {search.tail_events:,} events and {MAX_BYTES >> 20} MiB",
        f"a row that names it for {WORDS[pace.lease_seconds]}",
        f"looks at the heads of the logs, {WORDS[POLL_SECONDS]}",
        f"a sweep, after {WORDS[QueueSettings().sweep_interval]} at most, finds what nobody told",
        f"the Tantivy indices of {search.open_indexes} logs open",
        f"takes {WORDS[pace.parallel]} logs at once, and each for {WORDS[STRETCHES_A_TURN]} stretches",
        f"In OpenSearch {WORDS[search.shared_logs]} logs share an index",
        f"*rolls* of {search.roll_events:,} events",
        f"stretches of up to {pace.stretch_events:,} events",
    )

    assert [sentence for sentence in said if sentence not in PAGE] == []
