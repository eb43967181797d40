"""The firewall: floods and bodies over the limit are refused, and what events say never is."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloud_templates import Templates
from tallystick.settings import ApiSettings
from tallystick_aws.contentlength import longer_than


@given(st.integers(1, 10**9), st.integers(0, 10**12), st.integers(0, 3))
def test_the_pattern_is_a_comparison_of_numbers(limit: int, length: int, zeros: int) -> None:
    assert bool(re.search(longer_than(limit), "0" * zeros + str(length))) is (length > limit)


@given(st.integers(1, 10**9), st.integers(-2, 2))
def test_the_pattern_is_exact_at_the_limit(limit: int, beside: int) -> None:
    assert bool(re.search(longer_than(limit), str(max(limit + beside, 0)))) is (beside > 0)


def test_a_body_may_be_as_long_as_the_application_takes(templates: Templates) -> None:
    (pattern,) = [
        rule["Statement"]["RegexMatchStatement"]
        for rule in rules(templates)
        if "RegexMatchStatement" in rule["Statement"]
    ]

    assert pattern["FieldToMatch"] == {"SingleHeader": {"Name": "content-length"}}
    assert pattern["RegexString"] == longer_than(ApiSettings().max_body_bytes)
    assert len(pattern["RegexString"]) <= 512, "the longest that AWS WAF takes"


def test_floods_are_told_to_wait_by_token_and_by_address(templates: Templates) -> None:
    rates = [rule for rule in rules(templates) if "RateBasedStatement" in rule["Statement"]]
    keys = [rule["Statement"]["RateBasedStatement"] for rule in rates]

    assert {each["AggregateKeyType"] for each in keys} == {"IP", "CUSTOM_KEYS"}
    (header,) = [each["CustomKeys"][0]["Header"] for each in keys if "CustomKeys" in each]
    assert header["Name"] == "authorization"
    alike = {each["Type"] for each in header["TextTransformations"]}
    assert alike == {"COMPRESS_WHITE_SPACE", "LOWERCASE"}, "one token is one, however it is sent"
    for rule in rates:
        answer = rule["Action"]["Block"]["CustomResponse"]
        assert answer["ResponseCode"] == 429
        assert answer["ResponseHeaders"] == [{"Name": "Retry-After", "Value": "60"}]


def test_nothing_is_refused_for_a_body_a_query_or_a_path(templates: Templates) -> None:
    """Attack strings are what an audit log is sent, and what auditors ask for."""
    groups = {rule["Name"]: rule["OverrideAction"] for rule in rules(templates) if "OverrideAction" in rule}
    refusing = [
        json.dumps(rule["Statement"])
        for rule in rules(templates)
        if "Block" in rule.get("Action", {}) and rule["Name"] != "Metrics"
    ]

    assert groups == {
        "AWSManagedRulesAmazonIpReputationList": {"None": {}},
        "AWSManagedRulesCommonRuleSet": {"Count": {}},
        "AWSManagedRulesKnownBadInputsRuleSet": {"Count": {}},
    }
    assert len(refusing) == 4
    for statement in refusing:
        assert not re.search("body|uri|query|argument", statement, re.IGNORECASE)


def test_metrics_are_not_for_the_public_however_their_path_is_written(templates: Templates) -> None:
    (metrics,) = [rule for rule in rules(templates) if rule["Name"] == "Metrics"]
    match = metrics["Statement"]["ByteMatchStatement"]

    assert (match["FieldToMatch"], match["SearchString"]) == ({"UriPath": {}}, "/metrics")
    assert match["PositionalConstraint"] == "STARTS_WITH", "%0a at the end is the same to a router"
    assert [each["Type"] for each in match["TextTransformations"]] == ["URL_DECODE"], "as servers do"
    assert metrics["Action"]["Block"]["CustomResponse"]["ResponseCode"] == 404


def test_labels_are_looked_at_after_they_were_put_on(templates: Templates) -> None:
    names = [rule["Name"] for rule in sorted(rules(templates), key=lambda rule: rule["Priority"])]

    assert names[-1] == "Headers"


def test_tokens_and_what_was_asked_are_in_no_log_of_the_firewall(templates: Templates) -> None:
    logging = templates.the("small", "Service", "AWS::WAFv2::LoggingConfiguration")
    acl = templates.the("small", "Service", "AWS::WAFv2::WebACL")

    hidden: list[Any] = [{"SingleHeader": {"Name": "authorization"}}, {"UriPath": {}}, {"QueryString": {}}]
    assert all(each in logging["RedactedFields"] for each in hidden)
    assert not any(rule["VisibilityConfig"]["SampledRequestsEnabled"] for rule in acl["Rules"])


def rules(templates: Templates) -> list[dict[str, Any]]:
    """All rules."""
    return templates.the("small", "Service", "AWS::WAFv2::WebACL")["Rules"]
