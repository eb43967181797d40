import ssl
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from picture.certificate import ensure_certificate
from tallystick.errors import ConfigurationError

HOST = "192.0.2.7"


def test_it_is_made_once_and_the_key_is_its_owners_alone(tmp_path: Path) -> None:
    made = ensure_certificate(tmp_path / "tls", HOST)
    before = made.shown.read_bytes(), made.authority.read_bytes()
    assert stat.S_IMODE(made.shown.stat().st_mode) == 0o600
    assert b"PRIVATE KEY" not in made.authority.read_bytes()
    again = ensure_certificate(tmp_path / "tls", HOST)
    assert (again.shown.read_bytes(), again.authority.read_bytes()) == before


def test_the_authority_vouches_for_this_machine(tmp_path: Path) -> None:
    made = ensure_certificate(tmp_path / "tls", HOST)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=made.authority)
    server.load_cert_chain(made.shown)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in ("localhost", "127.0.0.1", "::1", HOST):
        assert greet(server, client, name) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        greet(server, client, "elsewhere.example")


def greet(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """Let both shake hands in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    shown = server.wrap_bio(to_server, to_client, server_side=True)
    looking = client.wrap_bio(to_client, to_server, server_hostname=name)
    waiting = [looking, shown]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return looking.version()


@pytest.mark.parametrize("damage", [b"", b"no certificate"])
def test_what_does_not_hold_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    made = ensure_certificate(tmp_path / "tls", HOST)
    made.authority.write_bytes(damage)
    ensure_certificate(tmp_path / "tls", HOST)
    authority = x509.load_pem_x509_certificate(made.authority.read_bytes())
    shown = x509.load_pem_x509_certificate(made.shown.read_bytes())
    shown.verify_directly_issued_by(authority)
    assert shown.not_valid_after_utc > datetime.now(UTC)


@pytest.mark.parametrize("other", ["192.0.2.8", "audit.example"])
def test_it_is_made_anew_for_another_name(tmp_path: Path, other: str) -> None:
    made = ensure_certificate(tmp_path / "tls", HOST)
    before = made.shown.read_bytes()
    ensure_certificate(tmp_path / "tls", other)
    assert made.shown.read_bytes() != before
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=made.authority)
    server.load_cert_chain(made.shown)
    assert greet(server, client, other) == "TLSv1.3"


def test_two_that_do_not_belong_together_are_made_anew(tmp_path: Path) -> None:
    made, other = ensure_certificate(tmp_path / "tls", HOST), ensure_certificate(tmp_path / "other", HOST)
    made.authority.write_bytes(other.authority.read_bytes())
    ensure_certificate(tmp_path / "tls", HOST)
    assert made.authority.read_bytes() != other.authority.read_bytes()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "tls").write_text("in the way")
    with pytest.raises(ConfigurationError, match="TALLYSTICK_HOME"):
        ensure_certificate(tmp_path / "tls", HOST)
