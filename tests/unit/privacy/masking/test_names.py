"""Names are sensitive by their last words, however they are spelt."""

import pytest

from masking_corpus import NAMES
from tallystick.privacy.masking.names import NAME_RULES, NameMatcher, NameTable, words_of

ALL = NameMatcher(NameTable.of(NAME_RULES, {}))


@pytest.mark.parametrize(("rule", "name"), [(rule, name) for rule, names in NAMES.items() for name in names])
def test_a_name_of_a_secret_is_known(rule: str, name: str) -> None:
    assert ALL.rule_of(name) == rule


@pytest.mark.parametrize(
    "spelt", ["api_key", "apiKey", "ApiKey", "API_KEY", "api-key", "API-Key", "api.key", "api key"]
)
@pytest.mark.parametrize("before", ["", "stripe_", "stripe-", "stripe.", "a/b/stripe ", "x1_", "2"])
@pytest.mark.parametrize("after", ["", "1", "_2", "[]", "[0]", "?", "*"])
def test_it_is_one_name_however_it_is_spelt(spelt: str, before: str, after: str) -> None:
    assert ALL.rule_of(before + spelt + after) == "api_key"


@pytest.mark.parametrize(
    "name",
    [
        *("token_count", "passport_office", "secretary", "card_type", "password_changed_at", "tokenizer", "compass"),
        *("apikeys_count", "keyapi", "api", "key", "tokens_used", "next_page_token", "nextToken", "secret_santa"),
        *("payment_authorization", "authorization_id", "bypass", "pinned", "opinion", "", "_", "été", "пароль"),
    ],
)
def test_a_name_that_only_begins_so_or_holds_the_letters_is_not(name: str) -> None:
    assert ALL.rule_of(name) == ""


def test_words_that_may_stand_alone_only() -> None:
    for name in ("pass", "PASS", "x.pass", "headers[authorization]", "Proxy-Authorization", "x-authorization"):
        assert ALL.rule_of(name), name
    assert ALL.rule_of("boarding_pass") == ""


def test_a_tenants_own_names_come_before_ours_and_may_let_ours_stay() -> None:
    own = {"badge no": "own_name:hash", "db password": "own_name:drop", "пароль": "own_name:redact"}
    names = NameMatcher(NameTable.of(["password", "token"], own, kept=["refresh token", "authorization"]))
    assert names.rule_of("employeeBadgeNo") == "own_name:hash"
    assert names.rule_of("dbPassword") == "own_name:drop"
    assert names.rule_of("password") == "password"
    assert names.rule_of("refreshToken") == ""
    assert names.rule_of("token") == "token"
    assert names.rule_of("ПАРОЛЬ") == "own_name:redact"


def test_no_rule_no_name() -> None:
    assert NameMatcher(NameTable.of([], {})).rule_of("password") == ""


@pytest.mark.parametrize("name", ["badgeNo", "badge_no", "BADGE-NO", "badge  no", "\uff42\uff41\uff44ge no"])
def test_a_term_is_words_in_lower_case(name: str) -> None:
    assert words_of(name) == "badge no"
