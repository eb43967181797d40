"""Alarms, each on what users would feel or lose, and whom they tell."""

from typing import Final

from aws_cdk import Aws, Duration, Fn
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from tallystick_aws.balancer import Balancer
from tallystick_aws.choices import Choices
from tallystick_aws.data import DataStack
from tallystick_aws.figures import lags, of_aws, of_tallystick
from tallystick_aws.firewall import NAME as FIREWALL
from tallystick_aws.search import NAME as SEARCH_DOMAIN

_ABOVE: Final = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_BELOW: Final = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
_GIB: Final = 1024**3
_CONNECTIONS: Final = 22
"""A worker holds no more of them with the pools' default sizes; an API task holds 14."""

_QUIET: Final = cloudwatch.TreatMissingData.NOT_BREACHING
_LOUD: Final = cloudwatch.TreatMissingData.BREACHING


class Alarms(Construct):
    """The alarms.

    Attributes:
        topic: Whom they tell.
        alarms: By name.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        choices: Choices,
        data: DataStack,
        balancer: Balancer,
    ) -> None:
        super().__init__(scope, name)
        self.topic = sns.Topic(self, "Topic", master_key=data.keys.messages, enforce_ssl=True)
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
            )
        )
        if choices.alarm_email is not None:
            self.topic.add_subscription(subscriptions.EmailSubscription(choices.alarm_email))
        self.alarms: dict[str, cloudwatch.Alarm] = {}
        self._watch_door(balancer)
        self._watch_followers(data)
        self._watch_search()
        self._watch_cache(data)
        if data.database is not None:
            tasks = choices.sizes.api_tasks[1] + choices.sizes.worker_tasks[1]
            self._watch_database(data.database.cluster.cluster_identifier, tasks)

    def _alarm(
        self,
        name: str,
        why: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        *,
        periods: int = 5,
        comparison: cloudwatch.ComparisonOperator = _ABOVE,
        missing: cloudwatch.TreatMissingData = _QUIET,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_description=why,
            metric=metric,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=comparison,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        alarm.add_ok_action(actions.SnsAction(self.topic))
        self.alarms[name] = alarm

    def _watch_door(self, balancer: Balancer) -> None:
        at = {"LoadBalancer": balancer.balancer.load_balancer_full_name}
        targets = {**at, "TargetGroup": balancer.targets.target_group_full_name}
        failed = cloudwatch.MathExpression(
            expression="100 * (FILL(ours, 0) + FILL(theirs, 0)) / all",
            using_metrics={
                "ours": of_aws("ApplicationELB", "HTTPCode_Target_5XX_Count", "Sum", at),
                "theirs": of_aws("ApplicationELB", "HTTPCode_ELB_5XX_Count", "Sum", at),
                "all": of_aws("ApplicationELB", "RequestCount", "Sum", at),
            },
            period=Duration.minutes(1),
        )
        slow = of_aws("ApplicationELB", "TargetResponseTime", "p99", at)
        ready = of_aws("ApplicationELB", "HealthyHostCount", "Minimum", targets)
        self._alarm("Failing", "More than 1 % of requests are answered with 5xx", failed, 1)
        self._alarm(
            "Slow", "One request in a hundred takes more than 2 s; exports and streams count, too", slow, 2, periods=15
        )
        self._alarm("NotReady", "Fewer than two API tasks are ready", ready, 2, comparison=_BELOW, missing=_LOUD)
        refused = of_aws("WAFV2", "BlockedRequests", "Sum", {"WebACL": FIREWALL, "Rule": "ALL", "Region": Aws.REGION})
        self._alarm("Refusing", "The firewall refuses a thousand requests a minute", refused, 1_000)

    def _watch_followers(self, data: DataStack) -> None:
        for follower, lag in lags().items():
            why = f"The follower {follower} is more than two minutes behind: searches lean on the log itself"
            # No figure at all: no task tells one.
            self._alarm(f"Lag{follower.title()}", why, lag, 120, missing=_LOUD)
        lost = of_tallystick("tallystick_access_events_lost_total", "Sum")
        self._alarm("AccessEventsLost", "Records of who looked were lost", lost, 0, periods=1)
        for kind, queue in data.queues.work.items():
            name = kind.title().replace("-", "")
            age = queue.metric_approximate_age_of_oldest_message(period=Duration.minutes(1))
            self._alarm(f"{name}Old", f"A message of the queue of {kind} waits for a minute", age, 60)
            dead = data.queues.dead[kind].metric_approximate_number_of_messages_visible(statistic="Maximum")
            self._alarm(
                f"{name}Dead", f"A message of the queue of {kind} was given out five times in vain", dead, 0, periods=1
            )

    def _watch_search(self) -> None:
        at = {"DomainName": SEARCH_DOMAIN, "ClientId": Aws.ACCOUNT_ID}
        self._alarm(
            "SearchRed",
            "A shard has no copy: searches fail",
            of_aws("ES", "ClusterStatus.red", "Maximum", at),
            0,
            periods=1,
        )
        self._alarm(
            "SearchYellow",
            "A shard has one copy only",
            of_aws("ES", "ClusterStatus.yellow", "Maximum", at),
            0,
            periods=15,
        )
        blocked = of_aws("ES", "ClusterIndexWritesBlocked", "Maximum", at)
        self._alarm("SearchBlocked", "OpenSearch takes no writes", blocked, 0, periods=1)
        free = of_aws("ES", "FreeStorageSpace", "Minimum", at)
        self._alarm("SearchFull", "A node has less than 50 GiB left", free, 50 * 1024, comparison=_BELOW)
        memory = of_aws("ES", "JVMMemoryPressure", "Maximum", at)
        self._alarm("SearchMemory", "A node's heap is over 90 % full", memory, 90)

    def _watch_cache(self, data: DataStack) -> None:
        for number in (1, 2):
            node = Fn.join("-", [data.cache.group.ref, f"00{number}"])
            memory = of_aws("ElastiCache", "DatabaseMemoryUsagePercentage", "Maximum", {"CacheClusterId": node})
            self._alarm(f"CacheFull{number}", "Valkey's memory is over 80 % full", memory, 80)

    def _watch_database(self, cluster: str, tasks: int) -> None:
        at = {"DBClusterIdentifier": cluster}
        writer = {**at, "Role": "WRITER"}
        cpu = of_aws("RDS", "CPUUtilization", "Average", writer)
        self._alarm("DatabaseCpu", "The database works at over 80 %", cpu, 80, periods=15)
        memory = of_aws("RDS", "FreeableMemory", "Minimum", writer)
        self._alarm(
            "DatabaseMemory", "The database has less than 1 GiB of memory left", memory, _GIB, comparison=_BELOW
        )
        used = of_aws("RDS", "VolumeBytesUsed", "Maximum", at, period=Duration.hours(1))
        self._alarm(
            "DatabaseFull", "The volume holds over 100 TiB; it grows to 128", used, 100 * 1024 * _GIB, periods=1
        )
        connections = of_aws("RDS", "DatabaseConnections", "Maximum", writer)
        most = 2 * tasks * _CONNECTIONS
        self._alarm("DatabaseConnections", "More connections than twice as many tasks hold", connections, most)
        behind = of_aws("RDS", "AuroraReplicaLagMaximum", "Maximum", at)
        self._alarm("DatabaseStandby", "A standby is more than a second behind, and takes over later", behind, 1_000)
