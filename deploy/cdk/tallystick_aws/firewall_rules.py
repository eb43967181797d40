"""What the firewall refuses: bad addresses, floods, bodies over the limit, metrics. It never judges what an event says.

An audit log is sent what attackers did: `${jndi:…}` as a user agent, `<script>` in a message, a path to `/etc/passwd`.
Auditors ask for the same words, and resources may have any name. A rule that looks into bodies, queries or paths would
refuse just the events that matter most, so these rules only put labels on requests, which the log keeps. The
application takes none of it for code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aws_cdk import aws_wafv2 as waf

from tallystick_aws.contentlength import longer_than
from tallystick_aws.sizes import Size

MAX_BODY: Final = 16 * 1024 * 1024
"""`TALLYSTICK_API__MAX_BODY_BYTES`. What comes in chunks names no length; there the application counts."""

_WINDOW: Final = 300
"""Seconds over which requests are counted."""

_MANAGED: Final[Mapping[str, bool]] = {
    "AWSManagedRulesAmazonIpReputationList": True,
    "AWSManagedRulesCommonRuleSet": False,
    "AWSManagedRulesKnownBadInputsRuleSet": False,
}
"""AWS's groups of rules, and whether they refuse. Those that do not only put labels on requests, whatever rules AWS
adds to them. The group against injection of SQL is left out: it looks into bodies, queries, paths and cookies alone."""

_REFUSED: Final[Mapping[str, Sequence[str]]] = {
    "core-rule-set": (
        "CrossSiteScripting_Cookie",
        "EC2MetaDataSSRF_Cookie",
        "SizeRestrictions_Cookie_Header",
    ),
    "known-bad-inputs": (
        "Host_Localhost_Header",
        "JavaDeserializationRCE_Header",
        "Log4JRCE_Header",
        "Propfind_Method",
    ),
}
"""Labels for which a request is refused: by what is no part of an event or of a question."""


def _problem(title: str, status: int, detail: str) -> waf.CfnWebACL.CustomResponseBodyProperty:
    return waf.CfnWebACL.CustomResponseBodyProperty(
        content_type="APPLICATION_JSON",
        content=f'{{"title": "{title}", "status": {status}, "detail": "{detail}"}}',
    )


ANSWERS: Final = {
    "not-here": _problem("Not found", 404, "nothing here"),
    "too-large": _problem("Body too large", 413, f"send at most {MAX_BODY} bytes"),
    "slow-down": _problem("Too many requests", 429, "wait a minute, then send less"),
}

_UNCHANGED: Final = waf.CfnWebACL.TextTransformationProperty(priority=0, type="NONE")


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule that has no place yet. One of a managed group has no action: its own rules do."""

    name: str
    statement: waf.CfnWebACL.StatementProperty
    action: waf.CfnWebACL.RuleActionProperty | None = None


def firewall_rules(size: Size) -> list[waf.CfnWebACL.RuleProperty]:
    """All rules, in the order in which they are asked."""
    rules = [
        _metrics_rule(),
        _body_rule(),
        _token_rule(size.requests_per_token),
        _address_rule(size.requests_per_address),
        *(_managed_rule(group) for group in _MANAGED),
        _label_rule(),
    ]
    return [
        waf.CfnWebACL.RuleProperty(
            name=rule.name,
            priority=priority,
            statement=rule.statement,
            action=rule.action,
            override_action=None if rule.action else _of_group(refuses=_MANAGED[rule.name]),
            visibility_config=visible(rule.name),
        )
        for priority, rule in enumerate(rules)
    ]


def visible(name: str) -> waf.CfnWebACL.VisibilityConfigProperty:
    """Count in CloudWatch by a name; no requests are kept as samples, since they hold tokens."""
    return waf.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )


def _metrics_rule() -> _Rule:
    """They need no token, so they are not for the public. No listener's rule decodes a path as servers do."""
    metrics = waf.CfnWebACL.ByteMatchStatementProperty(
        field_to_match=waf.CfnWebACL.FieldToMatchProperty(uri_path={}),
        positional_constraint="STARTS_WITH",
        search_string="/metrics",
        text_transformations=[waf.CfnWebACL.TextTransformationProperty(priority=0, type="URL_DECODE")],
    )
    return _Rule("Metrics", waf.CfnWebACL.StatementProperty(byte_match_statement=metrics), _refuse(404, "not-here"))


def _body_rule() -> _Rule:
    long_body = waf.CfnWebACL.RegexMatchStatementProperty(
        field_to_match=waf.CfnWebACL.FieldToMatchProperty(single_header={"Name": "content-length"}),
        regex_string=longer_than(MAX_BODY),
        text_transformations=[_UNCHANGED],
    )
    return _Rule("Body", waf.CfnWebACL.StatementProperty(regex_match_statement=long_body), _refuse(413, "too-large"))


def _token_rule(limit: int) -> _Rule:
    # One token counts as one, however what stands before it is written.
    alike = [
        waf.CfnWebACL.TextTransformationProperty(priority=priority, type=kind)
        for priority, kind in enumerate(("COMPRESS_WHITE_SPACE", "LOWERCASE"))
    ]
    token = waf.CfnWebACL.RateLimitHeaderProperty(name="authorization", text_transformations=alike)
    rate = waf.CfnWebACL.RateBasedStatementProperty(
        aggregate_key_type="CUSTOM_KEYS",
        custom_keys=[waf.CfnWebACL.RateBasedStatementCustomKeyProperty(header=token)],
        evaluation_window_sec=_WINDOW,
        limit=limit,
    )
    return _Rule("PerToken", waf.CfnWebACL.StatementProperty(rate_based_statement=rate), _refuse(429, "slow-down"))


def _address_rule(limit: int) -> _Rule:
    rate = waf.CfnWebACL.RateBasedStatementProperty(aggregate_key_type="IP", evaluation_window_sec=_WINDOW, limit=limit)
    return _Rule("PerAddress", waf.CfnWebACL.StatementProperty(rate_based_statement=rate), _refuse(429, "slow-down"))


def _managed_rule(group: str) -> _Rule:
    managed = waf.CfnWebACL.ManagedRuleGroupStatementProperty(vendor_name="AWS", name=group)
    return _Rule(group, waf.CfnWebACL.StatementProperty(managed_rule_group_statement=managed))


def _of_group(*, refuses: bool) -> waf.CfnWebACL.OverrideActionProperty:
    """What becomes of what the rules of a group say."""
    return waf.CfnWebACL.OverrideActionProperty(none={} if refuses else None, count=None if refuses else {})


def _label_rule() -> _Rule:
    labels = [
        waf.CfnWebACL.StatementProperty(
            label_match_statement=waf.CfnWebACL.LabelMatchStatementProperty(
                scope="LABEL", key=f"awswaf:managed:aws:{group}:{label}"
            )
        )
        for group, each in _REFUSED.items()
        for label in each
    ]
    any_of_them = waf.CfnWebACL.OrStatementProperty(statements=labels)
    refuse = waf.CfnWebACL.RuleActionProperty(block=waf.CfnWebACL.BlockActionProperty())
    return _Rule("Headers", waf.CfnWebACL.StatementProperty(or_statement=any_of_them), refuse)


def _refuse(status: int, answer: str) -> waf.CfnWebACL.RuleActionProperty:
    wait = waf.CfnWebACL.CustomHTTPHeaderProperty(name="Retry-After", value="60")
    response = waf.CfnWebACL.CustomResponseProperty(
        response_code=status,
        custom_response_body_key=answer,
        response_headers=[wait] if status == 429 else None,
    )
    return waf.CfnWebACL.RuleActionProperty(block=waf.CfnWebACL.BlockActionProperty(custom_response=response))
