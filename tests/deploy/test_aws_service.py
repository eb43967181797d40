"""What serves on AWS: told what the application knows, allowed what it needs, rolled without a gap."""

import json
import re
from typing import Any, Final, cast

import pytest
from pydantic import BaseModel

from cloud_templates import DEPLOYMENTS, ROOT, Templates
from tallystick.search.follower import NAME as SEARCH
from tallystick.settings import Settings
from tallystick.stats.follower import NAME as ROLLUPS

ANY: Final = pytest.mark.parametrize("deployment", DEPLOYMENTS)
FOLLOWERS: Final = (SEARCH, ROLLUPS)
TASKS: Final = ("Api", "Migration", "Operator", "Worker")
OTHERS: Final = {"AWS_CHECKSUM_ALGORITHM", "PGPASSWORD"}
"""Read by the libraries for S3 and PostgreSQL."""


def known(group: type[BaseModel], prefix: str = "TALLYSTICK_") -> set[str]:
    """The variables of all settings of a group."""
    names: set[str] = set()
    for name, field in group.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names |= known(kind, f"{variable}__")
        else:
            names.add(variable)
    return names


def containers(templates: Templates, deployment: str) -> dict[str, dict[str, Any]]:
    """The containers `tallystick` by their task."""
    definitions = templates.properties(deployment, "Service", "AWS::ECS::TaskDefinition")
    return {
        each["Family"].removeprefix("tallystick-").title(): next(
            container for container in each["ContainerDefinitions"] if container["Name"] == "tallystick"
        )
        for each in definitions
    }


def told(container: dict[str, Any]) -> dict[str, str]:
    """The environment of a container, with something that is alike for what CloudFormation puts in."""
    values = {each["Name"]: plain(each["Value"]) for each in container["Environment"]}
    return values | {each["Name"]: "{}" for each in container.get("Secrets", ())}


def plain(value: Any) -> str:
    """A text that CloudFormation is to put together."""
    if isinstance(value, str):
        return value
    if joined := value.get("Fn::Join"):
        return cast("str", joined[0]).join(map(plain, joined[1]))
    return "something"


@ANY
def test_tasks_are_told_by_settings_that_there_are(
    templates: Templates, deployment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = known(Settings)
    found = containers(templates, deployment)
    assert set(found) == set(TASKS)
    for container in found.values():
        names = told(container)
        assert not set(names) - settings - OTHERS
        for name, value in names.items():
            monkeypatch.setenv(name, value)
        Settings()
        for name in names:
            monkeypatch.delenv(name)


def test_tasks_agree_on_what_must_be_the_same(templates: Templates) -> None:
    found = {name: told(container) for name, container in containers(templates, "small").items()}
    shared = {name: value for name, value in found["Api"].items() if name in found["Worker"]}

    assert {name: value for name, value in found["Worker"].items() if name in shared} == shared
    for group in ("QUEUE__", "SEARCH__", "OBJECTS__", "KEYS__", "DATABASE__"):
        assert any(name.startswith(f"TALLYSTICK_{group}") for name in shared)


@ANY
def test_no_secret_is_a_plain_variable(templates: Templates, deployment: str) -> None:
    for container in containers(templates, deployment).values():
        for each in container["Environment"]:
            assert not re.search("PASSWORD|KEY_FILES|SECRET|TOKEN", each["Name"])
            assert "{{resolve" not in json.dumps(each)


def test_who_needs_no_secret_gets_none(templates: Templates) -> None:
    secrets = {
        name: {each["Name"] for each in container["Secrets"]}
        for name, container in containers(templates, "small").items()
    }

    assert "PGPASSWORD" not in secrets["Api"] | secrets["Worker"], "the owner's password is the migration's"
    assert "TALLYSTICK_KEY_FILES" not in secrets["Worker"] | secrets["Migration"], "a worker signs no tokens"
    assert "TALLYSTICK_RATES__PASSWORD" not in secrets["Worker"] | secrets["Migration"]
    roles = {
        name: next(
            json.dumps(each["ValueFrom"])
            for each in container["Secrets"]
            if each["Name"] == "TALLYSTICK_DATABASE__PASSWORDS"
        )
        for name, container in containers(templates, "small").items()
    }
    assert "ApiRoles" in roles["Api"]
    assert "AllRoles" in roles["Worker"]


@ANY
def test_an_external_database_is_where_its_secret_says(templates: Templates, deployment: str) -> None:
    external = deployment == "external"
    for name, container in containers(templates, deployment).items():
        secret = [each for each in container["Secrets"] if each["Name"] == "TALLYSTICK_DATABASE__URL"]
        stated = [each for each in container["Environment"] if each["Name"] == "TALLYSTICK_DATABASE__URL"]
        assert (len(secret), len(stated)) == ((1, 0) if external else (0, 1))
        if external:
            member = "owner_url" if name == "Migration" else "url"
            assert plain(secret[0]["ValueFrom"]).endswith(f":{member}::")
        else:
            assert "sslmode=verify-full" in plain(stated[0]["Value"])


@ANY
def test_tasks_run_as_nobody_and_write_to_nothing_but_their_folders(templates: Templates, deployment: str) -> None:
    for definition in templates.properties(deployment, "Service", "AWS::ECS::TaskDefinition"):
        for container in definition["ContainerDefinitions"]:
            assert container["User"] == "10001:10001"
            assert container["ReadonlyRootFilesystem"] is not definition["Family"].endswith("operator")
            assert container["LogConfiguration"]["LogDriver"] == "awslogs"
            if container["Name"] == "tallystick" and container["ReadonlyRootFilesystem"]:
                assert container["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    for service in templates.properties(deployment, "Service", "AWS::ECS::Service"):
        assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"


def test_the_balancers_addresses_are_trusted_and_no_others(templates: Templates) -> None:
    for deployment in ("small", "large"):
        trusted = json.loads(told(containers(templates, deployment)["Api"])["TALLYSTICK_API__TRUSTED_PROXIES"])
        edge = [
            each["CidrBlock"]
            for name, each in (
                (name, each["Properties"])
                for name, each in templates.resources(deployment, "Data", "AWS::EC2::Subnet").items()
            )
            if "Edge" in name
        ]
        assert trusted == edge
        assert len(edge) == 3


def test_a_task_may_take_as_long_to_stop_as_it_drains(templates: Templates) -> None:
    api = containers(templates, "small")["Api"]
    group = templates.the("small", "Service", "AWS::ElasticLoadBalancingV2::TargetGroup")
    drained = {each["Key"]: each["Value"] for each in group["TargetGroupAttributes"]}
    settings = told(api)
    drain = float(settings["TALLYSTICK_API__DRAIN_TIMEOUT"])

    assert api["StopTimeout"] > float(settings["TALLYSTICK_API__DRAIN_NOTICE"]) + drain
    assert float(drained["deregistration_delay.timeout_seconds"]) >= drain
    assert api["StopTimeout"] <= 120, "Fargate's longest"


def test_connections_outlive_silence_and_are_closed_by_the_balancer_first(templates: Templates) -> None:
    balancer = templates.the("small", "Service", "AWS::ElasticLoadBalancingV2::LoadBalancer")
    attributes = {each["Key"]: each["Value"] for each in balancer["LoadBalancerAttributes"]}
    idle = int(attributes["idle_timeout.timeout_seconds"])

    assert idle >= 60, "streams say something every 15 seconds"
    assert int(told(containers(templates, "small")["Api"])["TALLYSTICK_API__KEEP_ALIVE"]) > idle
    assert attributes["routing.http.desync_mitigation_mode"] == "strictest"
    assert attributes["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert attributes["routing.http.xff_header_processing.mode"] == "append"
    assert attributes["deletion_protection.enabled"] == "true"
    assert attributes["access_logs.s3.enabled"] == "true"


def test_the_balancer_asks_readyz_and_spreads_by_outstanding_requests(templates: Templates) -> None:
    group = templates.the("small", "Service", "AWS::ElasticLoadBalancingV2::TargetGroup")
    attributes = {each["Key"]: each["Value"] for each in group["TargetGroupAttributes"]}

    assert group["HealthCheckPath"] == "/readyz"
    assert attributes["load_balancing.algorithm.type"] == "least_outstanding_requests"
    assert group["HealthCheckIntervalSeconds"] * group["UnhealthyThresholdCount"] >= 60, "a fail-over kills no task"


def test_tls_is_modern_and_http_is_redirected(templates: Templates) -> None:
    listeners = {
        each["Port"]: each for each in templates.properties("small", "Service", "AWS::ElasticLoadBalancingV2::Listener")
    }

    assert listeners[443]["SslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2")
    assert listeners[80]["DefaultActions"][0]["RedirectConfig"]["Protocol"] == "HTTPS"


def test_a_release_is_rolled_without_a_gap_after_the_schema(templates: Templates) -> None:
    services = templates.resources("small", "Service", "AWS::ECS::Service")
    migration = next(iter(templates.resources("small", "Service", "Custom::TallystickMigration")))
    (api,) = [name for name in services if name.startswith("Api")]
    (worker,) = [name for name in services if name.startswith("Worker")]

    for each in services.values():
        rolling = each["Properties"]["DeploymentConfiguration"]
        assert migration in each["DependsOn"]
        assert rolling["MinimumHealthyPercent"] == 100
        assert rolling["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
        assert "DesiredCount" not in each["Properties"], "a deployment does not undo what was scaled"
    assert api in services[worker]["DependsOn"], "API processes first, as docs/how-to/upgrade.md says"
    migrating = templates.resources("small", "Service", "Custom::TallystickMigration")[migration]
    assert "Ref" in migrating["Properties"]["task"], "each new definition migrates"


@ANY
def test_services_grow_with_requests_and_with_lag(templates: Templates, deployment: str) -> None:
    policies = templates.properties(deployment, "Service", "AWS::ApplicationAutoScaling::ScalingPolicy")
    tracked = {
        each["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"]["PredefinedMetricType"]
        for each in policies
        if each["PolicyType"] == "TargetTrackingScaling"
    }
    scaling = [
        json.dumps(each["Metrics"])
        for each in templates.properties(deployment, "Service", "AWS::CloudWatch::Alarm")
        if "WorkerService" in json.dumps(each["AlarmActions"])
    ]

    assert tracked == {"ALBRequestCountPerTarget", "ECSServiceAverageCPUUtilization"}
    assert len(scaling) == 2, "one to grow, one to shrink"
    for metrics in scaling:
        assert metrics.count("tallystick_follower_lag_seconds") == len(FOLLOWERS)
        assert all(f'"Value": "{name}"' in metrics for name in FOLLOWERS)


@ANY
def test_no_role_of_ours_may_do_anything_on_everything(templates: Templates, deployment: str) -> None:
    """Where a wildcard stands AWS knows no resource: to log in to ECR, the channels of ECS Exec."""
    nameless = {"ecr:GetAuthorizationToken"} | {
        f"ssmmessages:{verb}{which}Channel" for verb in ("Create", "Open") for which in ("Control", "Data")
    }
    for policy in templates.properties(deployment, "Service", "AWS::IAM::Policy"):
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert not any("*" in action for action in actions), statement
            if statement["Resource"] == "*":
                assert set(actions) <= nameless, statement


def allowed(templates: Templates, task: str) -> set[str]:
    """What the role of a task's code may do."""
    (definition,) = [
        each
        for each in templates.properties("small", "Service", "AWS::ECS::TaskDefinition")
        if each["Family"] == f"tallystick-{task}"
    ]
    role = definition["TaskRoleArn"]["Fn::GetAtt"][0]
    actions: set[str] = set()
    for policy in templates.properties("small", "Service", "AWS::IAM::Policy"):
        if {"Ref": role} in policy["Roles"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                actions |= {statement["Action"]} if isinstance(statement["Action"], str) else set(statement["Action"])
    return actions


def test_each_task_may_do_what_the_how_to_pages_say(templates: Templates) -> None:
    api, worker, migration = (allowed(templates, task) for task in ("api", "worker", "migration"))

    assert {action for action in api if action.startswith("s3:")} == {"s3:GetObject", "s3:ListBucket"}
    assert "sqs:ReceiveMessage" not in api
    assert {"sqs:ReceiveMessage", "sqs:DeleteMessage", "s3:PutObject", "s3:DeleteObject"} <= worker
    assert not migration, "it speaks to the database alone"
    for actions in (api, worker, allowed(templates, "operator")):
        assert not actions & {"s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "sqs:CreateQueue"}
        assert not any(action.startswith(("iam:", "secretsmanager:")) for action in actions)


def test_what_an_operator_sees_is_logged_nowhere(templates: Templates) -> None:
    cluster = templates.the("small", "Service", "AWS::ECS::Cluster")

    assert cluster["Configuration"]["ExecuteCommandConfiguration"]["Logging"] == "NONE"


@ANY
def test_every_alarm_tells_somebody(templates: Templates, deployment: str) -> None:
    alarms = templates.properties(deployment, "Service", "AWS::CloudWatch::Alarm")

    assert all(each["AlarmActions"] for each in alarms)
    told_by_mail = templates.properties(deployment, "Service", "AWS::SNS::Subscription")
    assert [each["Endpoint"] for each in told_by_mail] == (["ops@example.com"] if deployment == "external" else [])


def test_what_is_watched_is_told(templates: Templates) -> None:
    """The collector brings what alarms and scaling stand on, by names that are documented."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    stack = json.dumps(templates.resources("small", "Service", "AWS::CloudWatch::Alarm"))
    watched = set(re.findall(r'"MetricName": "(tallystick_\w+)"', stack))
    brought: set[str] = set()
    for definition in templates.properties("small", "Service", "AWS::ECS::TaskDefinition"):
        for container in definition["ContainerDefinitions"]:
            if container["Name"] == "collector":
                config = json.loads(told(container)["AOT_CONFIG_CONTENT"])
                (job,) = config["receivers"]["prometheus"]["config"]["scrape_configs"]
                brought |= set(job["metric_relabel_configs"][0]["regex"].split("|"))

    assert watched
    assert watched <= brought
    assert not {name for name in brought if f"`{name.removesuffix('_total')}`" not in page}
