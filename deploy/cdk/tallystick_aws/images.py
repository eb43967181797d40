"""Repositories of the two images that tasks run: pulled from within the network, scanned, and never overwritten."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ecr as ecr
from constructs import Construct

from tallystick_aws.keys import Keys


class Images(Construct):
    """The repositories.

    Attributes:
        tallystick: Of Tallystick's image.
        collector: Of the image of AWS's OpenTelemetry collector, whose own registry is out of reach.
    """

    def __init__(self, scope: Construct, name: str, keys: Keys) -> None:
        super().__init__(scope, name)
        self.tallystick = self._repository("Tallystick", "tallystick", keys)
        self.collector = self._repository("Collector", "tallystick-collector", keys)

    def _repository(self, name: str, called: str, keys: Keys) -> ecr.Repository:
        return ecr.Repository(
            self,
            name,
            repository_name=called,
            encryption=ecr.RepositoryEncryption.KMS,
            encryption_key=keys.storage,
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            removal_policy=RemovalPolicy.RETAIN,
        )
