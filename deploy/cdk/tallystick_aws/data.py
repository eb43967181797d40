"""The stack of what holds data or is trusted with it. It is deployed first, changes rarely, and is never deleted."""

from aws_cdk import CfnOutput, Fn, Stack
from constructs import Construct

from tallystick_aws.backup import Backup
from tallystick_aws.cache import Cache
from tallystick_aws.choices import Choices
from tallystick_aws.database import Database
from tallystick_aws.images import Images
from tallystick_aws.keys import Keys
from tallystick_aws.network import Network
from tallystick_aws.objects import Objects
from tallystick_aws.queues import Queues
from tallystick_aws.search import Search
from tallystick_aws.secrets import Secrets


class DataStack(Stack):
    """Everything that outlives a deployment.

    Attributes:
        database: None where PostgreSQL is run elsewhere.
    """

    def __init__(self, scope: Construct, name: str, choices: Choices) -> None:
        super().__init__(
            scope,
            name,
            description="Tallystick: what holds data",
            termination_protection=True,
        )
        self.keys = Keys(self, "Keys")
        self.network = Network(self, "Network", choices, self.keys)
        self.secrets = Secrets(self, "Secrets", self.keys, external_database=choices.external_database)
        self.images = Images(self, "Images", self.keys)
        self.queues = Queues(self, "Queues", self.keys)
        self.objects = Objects(self, "Objects", self.keys)
        self.search = Search(self, "Search", choices, self.network, self.keys, self.secrets)
        self.cache = Cache(self, "Cache", choices, self.network, self.keys, self.secrets)
        self.database = (
            None
            if choices.external_database
            else Database(self, "Database", choices, self.network, self.keys, self.secrets)
        )
        self.network.let_through(self.objects.bucket.bucket_arn)
        kept = [self.objects.bucket.bucket_arn]
        if self.database is not None:
            kept.append(self.database.cluster.cluster_arn)
        Backup(self, "Backup", self.keys, kept)
        CfnOutput(self, "ImageRepository", value=self.images.tallystick.repository_uri)
        CfnOutput(self, "CollectorRepository", value=self.images.collector.repository_uri)
        tasks = self.network.vpc.select_subnets(subnet_group_name="Tasks").subnet_ids
        CfnOutput(self, "TaskSubnets", value=Fn.join(",", tasks))
        CfnOutput(self, "OperatorGroup", value=self.network.operator.security_group_id)
        if choices.external_database:
            CfnOutput(self, "DatabaseGroup", value=self.network.database.security_group_id)
