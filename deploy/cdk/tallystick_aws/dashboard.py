"""The dashboard: one row for each stage that an event passes."""

from collections.abc import Sequence
from typing import Final

from aws_cdk import Aws
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from tallystick_aws.alarms import Alarms
from tallystick_aws.balancer import Balancer
from tallystick_aws.data import DataStack
from tallystick_aws.figures import lags, of_aws, of_tallystick
from tallystick_aws.search import NAME as SEARCH_DOMAIN

_WIDTH: Final = 24


class Dashboard(Construct):
    """The dashboard."""

    def __init__(self, scope: Construct, name: str, data: DataStack, balancer: Balancer, alarms: Alarms) -> None:
        super().__init__(scope, name)
        self._rows: list[Sequence[cloudwatch.IWidget]] = [
            [cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms.alarms.values()), width=_WIDTH, height=3)]
        ]
        at = {"LoadBalancer": balancer.balancer.load_balancer_full_name}
        self._row(
            ("Requests a minute", [of_aws("ApplicationELB", "RequestCount", "Sum", at)]),
            (
                "Answers",
                [
                    of_aws("ApplicationELB", f"HTTPCode_{who}_Count", "Sum", at)
                    for who in ("Target_2XX", "Target_4XX", "Target_5XX", "ELB_5XX")
                ],
            ),
            (
                "Seconds to answer: p50, p99",
                [of_aws("ApplicationELB", "TargetResponseTime", each, at) for each in ("p50", "p99")],
            ),
        )
        if data.database is not None:
            cluster = {"DBClusterIdentifier": data.database.cluster.cluster_identifier}
            writer = {**cluster, "Role": "WRITER"}
            self._row(
                ("Database: CPU, %", [of_aws("RDS", "CPUUtilization", "Average", writer)]),
                (
                    "Database: commits a second, ms each",
                    [of_aws("RDS", name, "Average", writer) for name in ("CommitThroughput", "CommitLatency")],
                ),
                ("Database: bytes", [of_aws("RDS", "VolumeBytesUsed", "Maximum", cluster)]),
            )
        self._row(
            ("Seconds behind the log", list(lags().values())),
            ("Events waiting for their commit", [of_tallystick("tallystick_append_waiting_events")]),
            (
                "Messages that wait",
                [
                    queue.metric_approximate_number_of_messages_visible(statistic="Maximum")
                    for queue in (*data.queues.work.values(), *data.queues.dead.values())
                ],
            ),
        )
        search = {"DomainName": SEARCH_DOMAIN, "ClientId": Aws.ACCOUNT_ID}
        self._row(
            (
                "Search: CPU, heap, %",
                [of_aws("ES", name, "Maximum", search) for name in ("CPUUtilization", "JVMMemoryPressure")],
            ),
            (
                "Search: indexed, searched a minute",
                [of_aws("ES", name, "Sum", search) for name in ("IndexingRate", "SearchRate")],
            ),
            ("Search: MiB left on the fullest node", [of_aws("ES", "FreeStorageSpace", "Minimum", search)]),
        )
        cloudwatch.Dashboard(self, "Dashboard", dashboard_name="Tallystick", widgets=self._rows)

    def _row(self, *graphs: tuple[str, Sequence[cloudwatch.IMetric]]) -> None:
        width = _WIDTH // len(graphs)
        self._rows.append(
            [cloudwatch.GraphWidget(title=title, left=list(metrics), width=width) for title, metrics in graphs]
        )
