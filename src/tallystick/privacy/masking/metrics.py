"""What masking tells Prometheus."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter

from tallystick.privacy.masking.rules import Finding


class MaskingMetrics:
    """Counts what was masked. A tenant's own names are all counted as `own_name`: nothing it chose becomes a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._masked = Counter(
            "tallystick_masked", "Values that were masked, by rule and action.", ["rule", "action"], registry=registry
        )

    def count(self, findings: Iterable[Finding]) -> None:
        """Count what was masked in one event."""
        for finding in findings:
            self._masked.labels(finding.rule, finding.action).inc()
