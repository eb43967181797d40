"""What a panel is declared by, and the expressions that they are made of. `$of` chooses an installation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

REQUESTS: Final = "tallystick_http_request_seconds"


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel.

    Attributes:
        title: What it shows.
        series: Expressions, by what is written at the line.
        unit: As Grafana names it.
        meaning: What one sees in it, in a sentence or two.
        kind: Lines over time, or a number.
        limits: Where it turns yellow, and red.
        width: Of 24.
        stacked: Whether the lines add up.
        least_is_worst: Whether the limits are lower ones.
    """

    title: str
    series: dict[str, str]
    unit: str
    meaning: str
    kind: Literal["timeseries", "stat"] = "timeseries"
    limits: tuple[float, float] | None = None
    width: int = 8
    stacked: bool = False
    least_is_worst: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that belong together."""

    title: str
    panels: Sequence[Panel] = field(default_factory=tuple[Panel, ...])


def quantile(part: float, metric: str, by: str = "", where: str = "$of") -> str:
    """What so large a part of a histogram's observations stays below."""
    labels = ", ".join(filter(None, ("le", by)))
    return f"histogram_quantile({part}, sum by ({labels}) (rate({metric}_bucket{{{where}}}[$__rate_interval])))"


def rate(metric: str, by: str = "", where: str = "$of") -> str:
    """How often a counter counts in a second."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (rate({metric}{{{where}}}[$__rate_interval]))"


def share_without(bad: str, whole: str, span: str) -> str:
    """The share of a whole that is not bad."""
    return f"1 - (sum(increase({bad}[{span}])) or vector(0)) / (sum(increase({whole}[{span}])) > 0)"
