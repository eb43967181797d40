import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tallystick.auth.keyring import bundle_in_use, new_bundle, open_keyring, rotate_keys
from tallystick.auth.keys import KeyKind, load_or_create, rotate
from tallystick.auth.service import list_keys
from tallystick.cli.reading import load_settings
from tallystick.errors import ConfigurationError
from tallystick.settings import Settings


def given(bundle: Any, **changes: Any) -> Settings:
    text = bundle if isinstance(bundle, str) else json.dumps(bundle)
    return Settings(key_files=SecretStr(text), **changes)


def test_a_bundle_has_the_keys_of_the_folder_that_it_was_made_of(tmp_path: Path) -> None:
    rotate(tmp_path, KeyKind.HS256)
    files = load_or_create(tmp_path)
    rotate(tmp_path, KeyKind.CURSOR_SIGNING)
    keys = open_keyring(given(bundle_in_use(Settings(key_dir=tmp_path))))
    for kind in KeyKind:
        ours, theirs = getattr(keys, kind), getattr(files, kind)
        assert (ours.active_id, dict(ours.keys)) == (theirs.active_id, dict(theirs.keys))
    assert list_keys(keys) == list_keys(files)


def test_a_new_bundle_is_whole_and_no_other_is_like_it(tmp_path: Path) -> None:
    bundles = [new_bundle(), new_bundle()]
    one, other = (open_keyring(given(bundle, home=tmp_path)) for bundle in bundles)
    assert one.hs256 is None
    secrets = {
        secret for ring in (one, other) for file in (ring.master, ring.token_signing) for secret in file.keys.values()
    }
    assert len(secrets) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_what_a_process_in_an_environment_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = new_bundle()
    monkeypatch.setenv("TALLYSTICK_KEY_FILES", json.dumps(bundle))
    settings = load_settings()
    assert open_keyring(settings).master.active_id == bundle[KeyKind.MASTER]["active"]
    assert bundle_in_use(settings) == bundle


def without(kind: KeyKind) -> dict[str, Any]:
    return {name: content for name, content in new_bundle().items() if name != kind}


@pytest.mark.parametrize(
    ("bundle", "said"),
    [
        ("", "no JSON object"),
        ("s3cret", "no JSON object"),
        ("[]", "no JSON object"),
        ({}, "has no token_signing and no cursor_signing and no retry_digest and no master"),
        (without(KeyKind.MASTER), "has no master"),
        ({**new_bundle(), "s3cret": {}}, "no kind of keys; there are token_signing, "),
        ({**new_bundle(), "master": "s3cret"}, "`master` in TALLYSTICK_KEY_FILES is not a key file"),
        ({**new_bundle(), "master": {"active": "s3cret", "keys": {}}}, "`master` in TALLYSTICK_KEY_FILES is not"),
        (
            {**new_bundle(), "hs256": {"active": "a", "keys": {"a": {"kty": "oct", "k": "s3cret"}}}},
            "`hs256` in TALLYSTICK_KEY_FILES is not",
        ),
    ],
    ids=["empty", "text", "list", "nothing", "no master", "other kind", "no file", "no key", "weak key"],
)
def test_what_is_no_bundle_says_what_to_do_and_repeats_nothing(bundle: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        open_keyring(given(bundle))
    assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_keys_are_in_one_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unset one of them"):
        open_keyring(given(new_bundle(), key_dir=tmp_path))


def test_a_bundle_is_not_rotated_but_made_anew(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="tallystick keys bundle --rotate token_signing"):
        rotate_keys(given(new_bundle(), home=tmp_path), KeyKind.TOKEN_SIGNING)
    assert list(tmp_path.iterdir()) == []


def test_there_is_no_bundle_of_no_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--new"):
        bundle_in_use(Settings(home=tmp_path))
    assert list(tmp_path.iterdir()) == []
