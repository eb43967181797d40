"""What AWS's OpenTelemetry collector is told: scrape one `/metrics`, and write the few figures that alarms stand on."""

import json
from typing import Final

NAMESPACE: Final = "Tallystick"
FOLLOWERS: Final = ("search", "rollups")

_BY_FOLLOWER: Final = (
    "tallystick_follower_lag_seconds",
    "tallystick_follower_lag_events",
    "tallystick_follower_quarantined_events",
)
_PLAIN: Final = ("tallystick_append_waiting_events", "tallystick_access_events_lost_total")


def collector_config(port: int, log_group: str) -> str:
    """The configuration, as JSON, which is YAML.

    Args:
        port: Where `/metrics` answers in the same task.
        log_group: Where figures go, in the form that CloudWatch makes metrics of (EMF).
    """
    scraped = {
        "job_name": "tallystick",
        "scrape_interval": "30s",
        "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        "metric_relabel_configs": [
            {"source_labels": ["__name__"], "regex": "|".join((*_BY_FOLLOWER, *_PLAIN)), "action": "keep"}
        ],
    }
    written: dict[str, object] = {
        "namespace": NAMESPACE,
        "log_group_name": log_group,
        "dimension_rollup_option": "NoDimensionRollup",
        "metric_declarations": [
            {"dimensions": [["follower"]], "metric_name_selectors": [f"^{name}$" for name in _BY_FOLLOWER]},
            {"dimensions": [[]], "metric_name_selectors": [f"^{name}$" for name in _PLAIN]},
        ],
    }
    return json.dumps(
        {
            "receivers": {"prometheus": {"config": {"scrape_configs": [scraped]}}},
            "exporters": {"awsemf": written},
            "service": {"pipelines": {"metrics": {"receivers": ["prometheus"], "exporters": ["awsemf"]}}},
        }
    )
