"""What holds data on AWS: encrypted, kept, reachable by nobody but who must, and as the application expects it."""

import json
from typing import Any, Final, cast, get_args

import pytest

from cloud_templates import DEPLOYMENTS, Templates
from tallystick.adapters.sqs.client import NoQueueError, Sqs
from tallystick.adapters.sqs.queues import KINDS, Queues
from tallystick.database.pools import Role

LOGINS: Final = tuple(f"tallystick_{role}" for role in get_args(Role))
ANY: Final = pytest.mark.parametrize("deployment", DEPLOYMENTS)


class NoQueuesYet:
    """Stands where SQS is, without a queue, and keeps what is made."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, str]] = {}

    async def call(self, operation: str, **asked: Any) -> dict[str, Any]:
        if operation == "create_queue":
            self.made[asked["QueueName"]] = asked["Attributes"]
        elif operation == "get_queue_url":
            raise NoQueueError
        return {"QueueUrl": asked.get("QueueName"), "Attributes": {"QueueArn": "arn"}}


async def test_the_queues_are_those_that_the_application_would_make(templates: Templates) -> None:
    sqs = NoQueuesYet()
    for kind in KINDS:
        await Queues(cast("Sqs", sqs), "tallystick").url(kind)
    deployed = {each["QueueName"]: each for each in templates.properties("small", "Data", "AWS::SQS::Queue")}

    assert set(deployed) == set(sqs.made)
    for name, wanted in sqs.made.items():
        redrive = json.loads(wanted.pop("RedrivePolicy", "{}"))
        assert {each: str(deployed[name].get(each, False)).lower() for each in wanted} == {
            each: value.lower() for each, value in wanted.items()
        }
        assert deployed[name].get("RedrivePolicy", {}).get("maxReceiveCount") == redrive.get("maxReceiveCount")


@ANY
def test_what_holds_data_is_encrypted_by_a_key_of_ours(templates: Templates, deployment: str) -> None:
    def all_of(kind: str) -> list[dict[str, Any]]:
        return templates.properties(deployment, "Data", f"AWS::{kind}")

    assert all(key["EnableKeyRotation"] for key in all_of("KMS::Key"))
    assert all("KmsMasterKeyId" in queue for queue in all_of("SQS::Queue"))
    assert all("KmsKeyId" in each for kind in ("SecretsManager::Secret", "Logs::LogGroup") for each in all_of(kind))
    assert all(each["EncryptionConfiguration"]["EncryptionType"] == "KMS" for each in all_of("ECR::Repository"))
    assert all("EncryptionKeyArn" in each for each in all_of("Backup::BackupVault"))
    assert all(each["StorageEncrypted"] and "KmsKeyId" in each for each in all_of("RDS::DBCluster"))
    cache, search = all_of("ElastiCache::ReplicationGroup")[0], all_of("OpenSearchService::Domain")[0]
    assert cache["AtRestEncryptionEnabled"]
    assert "KmsKeyId" in cache
    assert search["EncryptionAtRestOptions"]["Enabled"]
    assert "KmsKeyId" in search["EncryptionAtRestOptions"]


@ANY
def test_what_holds_data_outlives_its_stack(templates: Templates, deployment: str) -> None:
    kinds = (
        "KMS::Key",
        "S3::Bucket",
        "ECR::Repository",
        "SecretsManager::Secret",
        "RDS::DBCluster",
        "OpenSearchService::Domain",
        "Backup::BackupVault",
    )
    for kind in kinds:
        for name, resource in templates.resources(deployment, "Data", f"AWS::{kind}").items():
            kept = (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy"))
            assert kept == ("Retain", "Retain"), name


def test_the_database_survives_a_zone_and_goes_back_35_days(templates: Templates) -> None:
    cluster = templates.the("small", "Data", "AWS::RDS::DBCluster")
    parameters = templates.the("small", "Data", "AWS::RDS::DBClusterParameterGroup")["Parameters"]

    assert len(templates.properties("small", "Data", "AWS::RDS::DBInstance")) == 3
    assert cluster["Engine"] == "aurora-postgresql"
    assert int(cluster["EngineVersion"].split(".")[0]) >= 18
    assert cluster["BackupRetentionPeriod"] == 35
    assert cluster["DeletionProtection"]
    assert cluster["EnableCloudwatchLogsExports"] == ["postgresql"]
    assert parameters["rds.force_ssl"] == "1"
    assert parameters["synchronous_commit"] == "on", "else a 201 is no promise"
    assert not any(
        instance["PubliclyAccessible"] for instance in templates.properties("small", "Data", "AWS::RDS::DBInstance")
    )


def test_an_external_database_is_told_by_a_secret(templates: Templates) -> None:
    names = {each.get("Name") for each in templates.properties("external", "Data", "AWS::SecretsManager::Secret")}

    assert not templates.resources("external", "Data", "AWS::RDS::DBCluster")
    assert "tallystick/database" in names


def test_each_login_role_has_a_password_and_the_api_none_of_the_workers(templates: Templates) -> None:
    texts = {
        name: json.dumps(each["Properties"]["SecretString"])
        for name, each in templates.resources("small", "Data", "AWS::SecretsManager::Secret").items()
        if "SecretString" in each["Properties"]
    }
    held = {name: {role for role in LOGINS if role in text} for name, text in texts.items()}

    assert sorted(map(len, held.values())) == [len(LOGINS) - 1, len(LOGINS)]
    assert set(LOGINS) - {"tallystick_worker"} in held.values()
    assert all(text.count("{{resolve:secretsmanager:") == len(held[name]) for name, text in texts.items())


def test_objects_are_versioned_locked_and_never_forgotten(templates: Templates) -> None:
    buckets = templates.properties("small", "Data", "AWS::S3::Bucket")
    (bucket,) = [each for each in buckets if each.get("ObjectLockEnabled")]
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}

    assert bucket["VersioningConfiguration"]["Status"] == "Enabled"
    assert bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {"Days": 30, "Mode": "GOVERNANCE"}
    assert rules["leaves-to-glacier"]["Prefix"] == "tallystick/"
    assert rules["leaves-to-glacier"]["Transitions"] == [{"StorageClass": "GLACIER_IR", "TransitionInDays": 90}]
    assert not any("ExpirationInDays" in rule for rule in rules.values()), "leaf hashes are kept for ever"
    for each in buckets:
        assert all(each["PublicAccessBlockConfiguration"].values())
    for policy in templates.properties("small", "Data", "AWS::S3::BucketPolicy"):
        assert '"aws:SecureTransport": "false"' in json.dumps(policy)


def test_the_search_index_is_spread_closed_and_speaks_tls_alone(templates: Templates) -> None:
    domain = templates.the("small", "Data", "AWS::OpenSearchService::Domain")

    assert domain["ClusterConfig"]["ZoneAwarenessConfig"] == {"AvailabilityZoneCount": 3}
    assert domain["ClusterConfig"]["DedicatedMasterCount"] == 3
    assert domain["NodeToNodeEncryptionOptions"]["Enabled"]
    assert domain["DomainEndpointOptions"]["EnforceHTTPS"]
    assert domain["DomainEndpointOptions"]["TLSSecurityPolicy"].startswith("Policy-Min-TLS-1-2")
    assert domain["AdvancedSecurityOptions"]["InternalUserDatabaseEnabled"]
    assert len(domain["VPCOptions"]["SubnetIds"]) == 3


def test_rate_limits_are_counted_over_tls_with_a_password_in_two_zones(templates: Templates) -> None:
    group = templates.the("small", "Data", "AWS::ElastiCache::ReplicationGroup")

    assert group["Engine"] == "valkey"
    assert group["TransitEncryptionEnabled"]
    assert group["MultiAZEnabled"]
    assert group["AutomaticFailoverEnabled"]
    assert "{{resolve:secretsmanager:" in json.dumps(group["AuthToken"])


def test_only_the_balancer_is_open_to_everybody(templates: Templates) -> None:
    opened = {
        (name, rule["FromPort"])
        for name, each in templates.resources("external", "Data", "AWS::EC2::SecurityGroup").items()
        for rule in each["Properties"].get("SecurityGroupIngress", ())
        if rule.get("CidrIp") == "0.0.0.0/0"
    }

    assert {port for _, port in opened} == {80, 443}
    assert len({name for name, _ in opened}) == 1
    for rule in templates.properties("external", "Data", "AWS::EC2::SecurityGroupIngress"):
        assert "SourceSecurityGroupId" in rule


def test_nothing_leaves_the_network_unless_it_was_asked_for(templates: Templates) -> None:
    endpoints = templates.properties("small", "Data", "AWS::EC2::VPCEndpoint")
    services = {json.dumps(each["ServiceName"]).rstrip('"]} ').rpartition(".")[2] for each in endpoints}

    assert not templates.resources("small", "Data", "AWS::EC2::NatGateway")
    assert len(templates.resources("external", "Data", "AWS::EC2::NatGateway")) == 3
    assert {"s3", "sqs", "kms", "logs", "secretsmanager", "sts", "api", "dkr"} <= services


def test_three_zones_are_used_whatever_the_region(templates: Templates) -> None:
    zones = [json.dumps(each["AvailabilityZone"]) for each in templates.properties("small", "Data", "AWS::EC2::Subnet")]

    assert len(zones) == 9
    assert len(set(zones)) == 3


def test_backups_are_daily_and_cannot_be_removed_early(templates: Templates) -> None:
    (rule,) = templates.the("small", "Data", "AWS::Backup::BackupPlan")["BackupPlan"]["BackupPlanRule"]
    kept = templates.the("small", "Data", "AWS::Backup::BackupSelection")["BackupSelection"]["Resources"]

    assert rule["Lifecycle"]["DeleteAfterDays"] == 35
    assert templates.the("small", "Data", "AWS::Backup::BackupVault")["LockConfiguration"]["MinRetentionDays"] == 30
    assert len(kept) == 2, "the database and the objects"
