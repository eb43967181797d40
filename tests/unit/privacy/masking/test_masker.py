"""What becomes of what is found: by each action, in each place, and nothing beside it."""

import random
from typing import Any

import orjson
import pytest

from masking_corpus import Lot
from tallystick.privacy.masking.masker import CROWDED, Masker
from tallystick.privacy.masking.policy import policy_of
from tallystick.privacy.masking.presets import PRESETS, RULES
from tallystick.privacy.masking.rules import Action, Finding
from tallystick.privacy.sealing import DataKeys

SALT = b"twelve bytes"
KEYS = DataKeys("acme", "k1", {"k1": bytes(32)}, bytes(range(32)))
CARD = "4111" + "1" * 12


def masked(event: dict[str, Any], **settings: Any) -> tuple[dict[str, Any], list[Finding]]:
    counted: list[Finding] = []
    masker = Masker(policy_of(settings), KEYS, counted.extend)
    found = masker.mask(event, SALT)
    assert counted == found
    return event, found


def test_only_the_secret_is_replaced() -> None:
    event, found = masked({"message": f"paid with {CARD}, thanks", "metadata": {"a": [f"«{CARD}»"], "b": CARD + "0"}})
    assert event == {
        "message": "paid with [redacted:payment_card], thanks",
        "metadata": {"a": ["«[redacted:payment_card]»"], "b": CARD + "0"},
    }
    assert found == [
        Finding("/message", "payment_card", Action.REDACT, "value"),
        Finding("/metadata/a/0", "payment_card", Action.REDACT, "value"),
    ]


def test_what_events_are_found_by_stays() -> None:
    event = {
        "action": "password=x1y2",
        "resource_id": CARD,
        "user_id": "a@b.example",
        "session_id": CARD,
        "tenant_id": "t",
    }
    assert masked(dict(event), preset="gdpr") == (event, [])


@pytest.mark.parametrize("value", [True, None, "", "********", "[redacted:password]", {}, [], {"required": True}])
def test_what_is_no_secret_stays_under_a_secrets_name(value: Any) -> None:
    assert masked({"metadata": {"password": value}}) == ({"metadata": {"password": value}}, [])


@pytest.mark.parametrize("value", ["x", 1234, 0, 1.5, ["x"], {"new": "x"}, {"a": [{"b": 1}]}])
def test_everything_else_is_replaced_whole(value: Any) -> None:
    assert masked({"metadata": {"password": value}})[0] == {"metadata": {"password": "[redacted:password]"}}


def test_hash_tells_equal_values_and_nothing_else() -> None:
    actions = {"password": "hash", "payment_card": "hash"}
    event, _ = masked({"metadata": {"password": "x", "b": {"password": "x"}, "c": f"pay {CARD}"}}, actions=actions)
    digest = KEYS.digest("x")
    assert event["metadata"] == {"password": digest, "b": {"password": digest}, "c": f"pay {KEYS.digest(CARD)}"}
    number, _ = masked({"metadata": {"password": 17, "b": {"password": "17"}}}, actions=actions)
    assert number["metadata"]["password"] == number["metadata"]["b"]["password"] == KEYS.digest("17")
    tree, _ = masked({"metadata": {"password": {"b": 1, "a": "x"}}}, actions=actions)
    assert tree["metadata"]["password"] == KEYS.digest('{"a":"x","b":1}')


def test_encrypt_seals_a_value_for_its_place() -> None:
    actions = {"password": "encrypt", "payment_card": "encrypt"}
    event, _ = masked({"after": {"a/b": [{"password": {"x": 1}}]}, "metadata": {"n": int(CARD)}}, actions=actions)
    assert KEYS.unseal(event["after"]["a/b"][0]["password"], SALT, "/after/a~1b/0/password") == {"x": 1}
    assert KEYS.unseal(event["metadata"]["n"], SALT, "/metadata/n") == int(CARD)


def test_encrypt_seals_the_whole_string_without_what_others_redact() -> None:
    text = f"pay {CARD} with token=abc123"
    event, _ = masked({"message": text, "metadata": {"m": text}}, actions={"payment_card": "encrypt"})
    plain = f"pay {CARD} with token=[redacted:token]"
    assert isinstance(event["message"], str)
    assert KEYS.unseal(event["message"], SALT, "/message") == plain
    assert KEYS.unseal(event["metadata"]["m"], SALT, "/metadata/m") == plain


def test_drop_takes_the_member_or_the_match() -> None:
    actions = {"password": "drop", "payment_card": "drop"}
    event = {"message": f"a {CARD} b", "metadata": {"password": "x", "l": [CARD, int(CARD), 1], "n": int(CARD)}}
    assert masked(event, actions=actions)[0] == {"message": "a  b", "metadata": {"l": ["", None, 1]}}


def test_a_label_names_what_stands_beside_it() -> None:
    event = {"before": {"changes": [{"Field": "userPassword", "old": "a", "new_value": {"x": "b"}, "by": "ada"}]}}
    assert masked(event)[0]["before"]["changes"] == [
        {"Field": "userPassword", "old": "[redacted:password]", "new_value": "[redacted:password]", "by": "ada"}
    ]
    harmless = {"metadata": {"field": "colour", "new": "red", "names": ["password", "email"]}}
    assert masked(harmless)[1] == []


def test_a_secret_as_a_key_is_masked_in_its_place() -> None:
    event, found = masked({"metadata": {"a": 1, CARD: {"password": "x"}, f"<{CARD}>": 2, "z": 3}})
    assert list(event["metadata"].items()) == [
        ("a", 1),
        ("[redacted:payment_card]", {"password": "[redacted:password]"}),
        ("<[redacted:payment_card]>", 2),
        ("z", 3),
    ]
    assert found[-1].pointer == "/metadata/[redacted:payment_card]/password"
    assert CARD not in orjson.dumps([finding.pointer for finding in found]).decode()


def test_keys_that_become_the_same_stay_apart() -> None:
    other = "5555" * 3 + "4444"
    keys = {CARD: 1, other: 2, f"{CARD} ": 3, "[redacted:payment_card]": 4}
    event, found = masked({"metadata": keys}, actions={"payment_card": "encrypt"})
    assert list(event["metadata"].values()) == [1, 2, 3, 4]
    assert list(event["metadata"])[:2] == ["[redacted:payment_card]", "[redacted:payment_card] #2"]
    assert {finding.action for finding in found} == {Action.REDACT}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (
            '{"password": {"old": "hunter2 }", "new": ["x"]}, "by": "ada"}',
            '{"password": [redacted:password], "by": "ada"}',
        ),
        ('{"passwords":["hunter2","b"],"by":"ada"}', '{"passwords":[redacted:password],"by":"ada"}'),
        ('{"password": {"old": "hunter2', '{"password": [redacted:password]'),
        ('{"password": 1234, "by": 1}', '{"password": [redacted:password] "by": 1}'),
        ("Authorization: ApiKey abc-123-xyz", "Authorization: ApiKey [redacted:authorization]"),
        ("Authorization: granted by ada", "Authorization: granted by ada"),
        ("secret=[redacted:secret] & on", "secret=[redacted:secret] & on"),
        ("<ns:password>hunter two</ns:password>", "<ns:password>[redacted:password]</ns:password>"),
        ("a password > 8 characters", "a password > 8 characters"),
    ],
)
def test_the_value_after_a_name_is_taken_to_its_end(text: str, left: str) -> None:
    assert masked({"message": text})[0] == {"message": left}


def test_what_overlaps_is_hidden_as_a_whole() -> None:
    lot = Lot(random.Random(1))  # noqa: S311 - no secret
    token = lot.jwt()
    event, found = masked({"message": f"Authorization: Bearer {token} token={token}"})
    assert event["message"].count("[redacted:") == len(found) == 2
    assert token[-8:] not in event["message"]


def test_what_begins_in_one_secret_and_ends_beyond_it_is_hidden_to_its_end() -> None:
    block = "-----BEGIN PRIVATE" + " KEY-----\nMIIB\n-----END PRIVATE" + " KEY-----"
    event, found = masked({"message": f"secret=x{block}, it said"})
    assert event["message"] == "secret=[redacted:secret], it said"
    assert len(found) == 1


def test_an_event_crowded_with_secrets_is_not_read_to_its_end() -> None:
    event, found = masked({"metadata": {"a": f"{CARD} " * 2_000, "b": f"x {CARD}", "c": "harmless"}})
    assert event["metadata"] == {"a": "[redacted:crowded]", "b": "[redacted:crowded]", "c": "harmless"}
    assert [finding.rule for finding in found] == [CROWDED, CROWDED]


def test_own_names_and_switched_detectors() -> None:
    settings: dict[str, Any] = {
        "names": {"badge_no": "redact", "пароль": "drop", "authorization": "keep"},
        "detectors": {"email": True, "payment_card": False, "named_secret": False},
    }
    event = {
        "message": f"{CARD} password=abc1 ada@mail.example",
        "metadata": {"badgeNo": "7", "Пароль": "x", "Authorization": "granted", "password": "x"},
    }
    event, found = masked(event, **settings)
    assert event["message"] == f"{CARD} password=abc1 [redacted:email]"
    assert event["metadata"] == {
        "badgeNo": "[redacted:own_name]",
        "Authorization": "granted",
        "password": "[redacted:password]",
    }
    assert {(finding.rule, finding.action) for finding in found} >= {("own_name", "redact"), ("own_name", "drop")}


def test_none_masks_nothing_but_what_is_asked_for() -> None:
    event = {"message": f"password=x1 {CARD}", "metadata": {"password": "x"}}
    assert masked(orjson.loads(orjson.dumps(event)), preset="none") == (event, [])
    assert policy_of({"preset": "none"}).scan is None
    assert masked({"metadata": {"pin": 1, "x": 1}}, preset="none", names={"pin": "drop"})[0] == {"metadata": {"x": 1}}


@pytest.mark.parametrize("preset", PRESETS)
def test_keys_are_needed_where_a_rule_of_the_tenant_hashes_or_encrypts(preset: str) -> None:
    assert policy_of({"preset": preset}).keyed == (preset == "gdpr")
    redacting = dict.fromkeys(RULES, "redact")
    assert not policy_of({"preset": preset, "actions": redacting}).keyed
    assert policy_of({"preset": preset, "names": {"x": "encrypt"}}).keyed
    # An action for a rule that is not at work needs none.
    assert policy_of({"preset": preset, "actions": {**redacting, "email": "hash"}}).keyed == (preset == "gdpr")


def test_the_same_settings_share_a_policy() -> None:
    assert policy_of(None) is policy_of({})
    assert policy_of({"preset": "pci", "names": {"a": "drop"}}) is policy_of({"names": {"a": "drop"}, "preset": "pci"})
    assert policy_of({"preset": "pci"}) is not policy_of({"preset": "gdpr"})
