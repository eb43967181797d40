"""Makes the secrets of ``compose.yaml`` that are not there yet. Usage: ``prepare.py [NAME OR ADDRESS OF THIS HOST …]``.

They lie in the folder ``secrets`` beside this file. It has mode 0700 and its files 0444: they are mounted as they are
into containers that run as different users.
"""

import ipaddress
import os
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FOLDER = Path(__file__).resolve().parent / "secrets"
ROLES = ("writer", "reader", "control", "worker")


def keep(name: str, text: str) -> str:
    """Write a file that is not there yet; returns what it holds now."""
    file = FOLDER / name
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    except FileExistsError:
        return file.read_text()
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
    file.chmod(0o444)  # whatever the umask
    print(f"made {file}")
    return text


def password(name: str) -> str:
    """A password in a file of its own."""
    return keep(name, secrets.token_hex(24) + "\n").strip()


def certificate(names: Sequence[str]) -> tuple[str, str]:
    """A certificate for this host that vouches for itself, and its key: until there is one from an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    shown = made.public_bytes(Encoding.PEM).decode()
    return shown, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def general_name(name: str) -> x509.GeneralName:
    """A host's name or address, as certificates have it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def main(hosts: Sequence[str]) -> None:
    """Make what is missing; what is there stays."""
    FOLDER.mkdir(exist_ok=True)
    FOLDER.chmod(0o700)  # also where somebody made it before, as what is in it can be read
    password("database_superuser_password")
    owner = password("database_owner_password")
    keep(
        "database_owner.conf",
        f"[owner]\nhost=database\nuser=tallystick_owner\npassword={owner}\n",
    )
    keep("role_passwords", "".join(f"tallystick_{role}={secrets.token_hex(24)}\n" for role in ROLES))
    # Counters that live for a minute: nothing is kept on disk, and what expires first goes first.
    rates = password("rates_password")
    keep(
        "rates.conf",
        f'requirepass {rates}\nsave ""\nappendonly no\nmaxmemory 128mb\nmaxmemory-policy volatile-ttl\n',
    )
    objects = password("objects_secret_key")
    keep("aws_credentials", f"[default]\naws_access_key_id=tallystick\naws_secret_access_key={objects}\n")
    if not (FOLDER / "certificate.pem").exists():
        shown, key = certificate([*hosts, "localhost", "127.0.0.1"])
        (FOLDER / "certificate.crt").unlink(missing_ok=True)
        keep("certificate.crt", shown)
        keep("certificate.pem", shown + key)


if __name__ == "__main__":
    main(sys.argv[1:])
