"""AWS WAF before the balancer: the web ACL, what it answers, and its log."""

from typing import Final

from aws_cdk import Names
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from tallystick_aws.firewall_rules import ANSWERS, firewall_rules, visible
from tallystick_aws.keys import Keys
from tallystick_aws.log_groups import log_group
from tallystick_aws.sizes import Size

NAME: Final = "tallystick"
_SECRET_HEADERS: Final = ("authorization", "sec-websocket-protocol")

_LOGGED: Final = {
    "DefaultBehavior": "DROP",
    "Filters": [
        {
            "Behavior": "KEEP",
            "Requirement": "MEETS_ANY",
            "Conditions": [
                {"ActionCondition": {"Action": action}} for action in ("BLOCK", "COUNT", "EXCLUDED_AS_COUNT")
            ],
        }
    ],
}
"""What was refused or counted."""


class Firewall(Construct):
    """The web ACL, and that it guards the balancer.

    Attributes:
        acl: The web ACL.
    """

    def __init__(
        self, scope: Construct, name: str, balancer: elb.ApplicationLoadBalancer, size: Size, keys: Keys
    ) -> None:
        super().__init__(scope, name)
        self.acl = waf.CfnWebACL(
            self,
            "Acl",
            name=NAME,
            scope="REGIONAL",
            default_action=waf.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=visible(NAME),
            custom_response_bodies=ANSWERS,
            rules=firewall_rules(size),
        )
        waf.CfnWebACLAssociation(self, "Guards", resource_arn=balancer.load_balancer_arn, web_acl_arn=self.acl.attr_arn)
        waf.CfnLoggingConfiguration(
            self,
            "Logging",
            resource_arn=self.acl.attr_arn,
            log_destination_configs=[log_group(self, "Log", keys.logs, _log_name(self)).log_group_arn],
            redacted_fields=[
                *(
                    waf.CfnLoggingConfiguration.FieldToMatchProperty(single_header={"Name": header})
                    for header in _SECRET_HEADERS
                ),
                # Whom somebody asked about. What was found there is told by labels.
                waf.CfnLoggingConfiguration.FieldToMatchProperty(uri_path={}),
                waf.CfnLoggingConfiguration.FieldToMatchProperty(query_string={}),
            ],
            logging_filter=_LOGGED,
        )


def _log_name(scope: Construct) -> str:
    """Of the form that AWS WAF wants."""
    return f"aws-waf-logs-{Names.unique_resource_name(scope, max_length=64)}"
