"""A certificate for this machine, vouched for by an authority whose key nobody keeps."""

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tallystick.errors import ConfigurationError
from tallystick.runtime.state import write_atomically

_LIFE: Final = timedelta(days=365)
_RENEWED_BEFORE: Final = timedelta(days=30)
_CLOCKS: Final = timedelta(hours=1)
"""How far the clocks of those who look at it may be behind ours."""

_OWN: Final = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM.

    Attributes:
        authority: What clients trust.
        shown: The certificate with its key, mode 0600, as HAProxy takes it.
    """

    authority: Path
    shown: Path


def ensure_certificate(folder: Path, host: str) -> Certificate:
    """Make the certificate, unless there is one of this machine's names that lasts a month.

    Args:
        folder: Where the files lie; made if need be.
        host: What clients reach this machine by, beside its own name.

    Raises:
        ConfigurationError: They cannot be written.
    """
    files = Certificate(folder / "authority.pem", folder / "certificate.pem")
    try:
        names = {*_OWN, socket.gethostname(), host}
        if not _lasts(files, names):
            folder.mkdir(mode=0o700, exist_ok=True)
            authority, shown = _make(names)
            write_atomically(files.shown, shown)
            write_atomically(files.authority, authority)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {error.filename} ({error.strerror}): mend its permissions, or choose another folder with "
            "TALLYSTICK_HOME"
        ) from error
    return files


def _lasts(files: Certificate, names: set[str]) -> bool:
    """Whether both files are there and belong together for long enough: a start may have been cut off between them.

    So they are made anew where they are of other names: the machine's may have changed.
    """
    try:
        authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
        shown = x509.load_pem_x509_certificate(files.shown.read_bytes())
        shown.verify_directly_issued_by(authority)
        certified = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # noqa: BLE001 - whatever is wrong with them, they are made anew
        return False
    return (
        set(_alternatives(names)) <= set(certified) and shown.not_valid_after_utc - datetime.now(UTC) > _RENEWED_BEFORE
    )


def _alternatives(names: set[str]) -> list[x509.GeneralName]:
    """Names and addresses as certificates have them."""
    return [_alternative(name) for name in sorted(names)]


def _alternative(name: str) -> x509.GeneralName:
    address: IPv4Address | IPv6Address
    try:
        address = ip_address(name)
    except ValueError:
        return x509.DNSName(name)
    return x509.IPAddress(address)


def _make(names: set[str]) -> tuple[str, str]:
    """An authority, and a certificate of it with its key, for these names and addresses."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Tallystick {os.urandom(4).hex()}")])
    own_id = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        _begun(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(own_id, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _begun(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), authority_name, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_id), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return authority.public_bytes(pem).decode(), (certificate.public_bytes(pem) + secret).decode()


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS)
        .not_valid_after(now + _LIFE)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
