"""The figures that are watched, by name."""

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch

from tallystick_aws.collector import FOLLOWERS, NAMESPACE

MINUTE = Duration.minutes(1)


def of_tallystick(name: str, statistic: str = "Maximum", **dimensions: str) -> cloudwatch.Metric:
    """One of our own, as the collector writes it. All processes tell the same of the database: take the largest."""
    return cloudwatch.Metric(
        namespace=NAMESPACE, metric_name=name, dimensions_map=dimensions, statistic=statistic, period=MINUTE
    )


def lags() -> Mapping[str, cloudwatch.Metric]:
    """Seconds that each follower is behind the log."""
    return {name: of_tallystick("tallystick_follower_lag_seconds", follower=name) for name in FOLLOWERS}


def longest_lag() -> cloudwatch.MathExpression:
    """Seconds that the follower is behind which is farthest behind."""
    return cloudwatch.MathExpression(expression="MAX(METRICS())", using_metrics=dict(lags()), period=MINUTE)


def of_aws(
    service: str, name: str, statistic: str, dimensions: Mapping[str, str], period: Duration = MINUTE
) -> cloudwatch.Metric:
    """One of a service of AWS.

    Args:
        service: Its namespace, without `AWS/`.
        name: Of the metric.
        statistic: How values are put together.
        dimensions: Of what.
        period: Over which time.
    """
    return cloudwatch.Metric(
        namespace=f"AWS/{service}",
        metric_name=name,
        dimensions_map=dict(dimensions),
        statistic=statistic,
        period=period,
    )
