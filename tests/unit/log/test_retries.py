"""Digests of retry keys: of this content, this kind and a key we still have; of nothing else."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from tallystick.auth.keys import SigningKeys
from tallystick.log.retries import Digests

OLD, NEW = b"o" * 32, b"n" * 32


def test_a_digest_is_an_hmac_under_the_active_key() -> None:
    key_id, digest = Digests(SigningKeys("new", {"old": OLD, "new": NEW})).make("event", b"{}")

    assert key_id == "new"
    assert digest == hmac.digest(NEW, b"event\0{}", hashlib.sha256)


@given(st.binary(), st.binary())
def test_only_the_same_content_matches(content: bytes, other: bytes) -> None:
    digests = Digests(SigningKeys("new", {"new": NEW}))
    key_id, digest = digests.make("event", content)

    assert digests.match("event", content, digest=digest, key_id=key_id)
    assert digests.match("event", other, digest=digest, key_id=key_id) == (content == other)
    assert not digests.match("request", content, digest=digest, key_id=key_id)


def test_after_a_rotation_old_digests_still_match_until_their_key_is_gone() -> None:
    key_id, digest = Digests(SigningKeys("old", {"old": OLD})).make("request", b"body")
    rotated = Digests(SigningKeys("new", {"old": OLD, "new": NEW}))
    forgotten = Digests(SigningKeys("new", {"new": NEW}))

    assert rotated.match("request", b"body", digest=digest, key_id=key_id)
    assert not rotated.match("request", b"body", digest=digest, key_id="new")
    assert not rotated.match("request", b"other", digest=digest, key_id=key_id)
    assert not forgotten.match("request", b"body", digest=digest, key_id=key_id)
