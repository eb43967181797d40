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
    return json.dumps(
        {
            "receivers": {
                "prometheus": {
                    "config": {
                        "scrape_configs": [
                            {
                                "job_name": "tallystick",
                                "scrape_interval": "30s",
                                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
                            }
                        ]
                    }
                }
            },
            "processors": {
                "filter": {"metrics": {"include": {"match_type": "strict", "metric_names": [*_BY_FOLLOWER, *_PLAIN]}}},
                "batch": {},
            },
            "exporters": {
                "awsemf": {
                    "namespace": NAMESPACE,
                    "log_group_name": log_group,
                    "dimension_rollup_option": "NoDimensionRollup",
                    "metric_declarations": [
                        {"dimensions": [["follower"]], "metric_name_selectors": list(map(_exactly, _BY_FOLLOWER))},
                        {"dimensions": [[]], "metric_name_selectors": list(map(_exactly, _PLAIN))},
                    ],
                }
            },
            "service": {
                "pipelines": {
                    "metrics": {"receivers": ["prometheus"], "processors": ["filter", "batch"], "exporters": ["awsemf"]}
                }
            },
        }
    )


def _exactly(name: str) -> str:
    return f"^{name}$"
