"""Digests of retry keys: of this content, this kind and a key we still have; of nothing else."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from tallystick.auth.keys import SigningKeys
from tallystick.log.retries import Digests, RequestKey

OLD, NEW = b"o" * 32, b"n" * 32


def test_a_digest_is_an_hmac_under_the_active_key() -> None:
    keys = Digests(SigningKeys("new", {"old": OLD, "new": NEW})).for_batch()
    digest = keys.make("event", b"{}")

    assert keys.active_id == "new"
    assert digest == hmac.digest(NEW, b"event\0{}", hashlib.sha256)


@given(st.binary(), st.binary())
def test_only_the_same_content_matches(content: bytes, other: bytes) -> None:
    digests = Digests(SigningKeys("new", {"new": NEW})).for_batch()
    key_id, digest = digests.active_id, digests.make("event", content)

    assert digests.match("event", content, digest=digest, key_id=key_id)
    assert digests.match("event", other, digest=digest, key_id=key_id) == (content == other)
    assert not digests.match("request", content, digest=digest, key_id=key_id)


def test_after_a_rotation_old_digests_still_match_until_their_key_is_gone() -> None:
    before = Digests(SigningKeys("old", {"old": OLD})).for_batch()
    key_id, digest = before.active_id, before.make("request", b"body")
    rotated = Digests(SigningKeys("new", {"old": OLD, "new": NEW})).for_batch()
    forgotten = Digests(SigningKeys("new", {"new": NEW})).for_batch()

    assert rotated.match("request", b"body", digest=digest, key_id=key_id)
    assert not rotated.match("request", b"body", digest=digest, key_id="new")
    assert not rotated.match("request", b"other", digest=digest, key_id=key_id)
    assert not forgotten.match("request", b"body", digest=digest, key_id=key_id)


def test_a_batch_takes_keys_that_agree_though_they_are_rotated_between_two_looks() -> None:
    class Rotated(SigningKeys):
        looks = 0

        @property
        def active_id(self) -> str:
            self.looks += 1
            return "old" if self.looks == 1 else "new"

    keys = Digests(Rotated("new", {"new": NEW})).for_batch()

    assert keys.active_id in keys.secrets


def test_the_same_key_of_two_clients_is_two_keys() -> None:
    one, other = RequestKey("k", b"", "issuer ada"), RequestKey("k", b"", "issuer bob")

    assert one.stored == RequestKey("k", b"other", "issuer ada").stored
    assert one.stored != other.stored
