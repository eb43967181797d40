"""What searches tell Prometheus."""

from prometheus_client import CollectorRegistry, Counter


class SearchMetrics:
    """Whether searches saw all that was stored before them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        searches = Counter(
            "tallystick_searches", "Searches, by whether they saw every event.", ["complete"], registry=registry
        )
        self._answers = {complete: searches.labels(str(complete).lower()) for complete in (True, False)}

    def answered(self, *, complete: bool) -> None:
        """Count a search."""
        self._answers[complete].inc()
