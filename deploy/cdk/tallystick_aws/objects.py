"""The bucket of exports and leaf hashes: versions that nobody can overwrite, and one that says who asked for what."""

from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_s3 as s3
from constructs import Construct

from tallystick_aws.excuses import excuse
from tallystick_aws.keys import Keys

PREFIX: Final = "tallystick"
"""What all keys begin with."""

LOCKED_DAYS: Final = 30
"""For so long no version of an object can be removed, whoever asks without a right of their own to it."""


class Objects(Construct):
    """The buckets.

    Attributes:
        bucket: Exports and leaf hashes.
        requests: Its access log.
    """

    def __init__(self, scope: Construct, name: str, keys: Keys) -> None:
        super().__init__(scope, name)
        self.requests = s3.Bucket(
            self,
            "Requests",
            encryption=s3.BucketEncryption.S3_MANAGED,  # what S3 writes its access logs with
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="forget",
                    expiration=Duration.days(400),
                    noncurrent_version_expiration=Duration.days(7),
                )
            ],
            removal_policy=RemovalPolicy.RETAIN,
        )
        excuse(self.requests, "It holds access logs; a log of who reads these would never end.", "S1")
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.KMS,
            encryption_key=keys.storage,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=True,
            object_lock_enabled=True,
            object_lock_default_retention=s3.ObjectLockRetention.governance(Duration.days(LOCKED_DAYS)),
            server_access_logs_bucket=self.requests,
            server_access_logs_prefix="objects/",
            lifecycle_rules=[
                # Exports are gone by then, so what grows so old are leaf hashes: kept for ever, read at once if ever.
                s3.LifecycleRule(
                    id="leaves-to-glacier",
                    prefix=f"{PREFIX}/",
                    transitions=[
                        s3.Transition(
                            storage_class=s3.StorageClass.GLACIER_INSTANT_RETRIEVAL,
                            transition_after=Duration.days(90),
                        )
                    ],
                ),
                # The application removes exports when they expire; what it removed is kept for as long as it is locked.
                s3.LifecycleRule(
                    id="what-was-removed",
                    noncurrent_version_expiration=Duration.days(LOCKED_DAYS),
                    expired_object_delete_marker=True,
                ),
                s3.LifecycleRule(id="unfinished", abort_incomplete_multipart_upload_after=Duration.days(2)),
            ],
            removal_policy=RemovalPolicy.RETAIN,
        )
