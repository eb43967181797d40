"""The secret keys, in files: made on first run, shared by all processes, re-read when they change.

Each kind is one JSON file, ``<kind>.json``, mode 0600 in a folder of mode 0700::

    {"active": "<kid>", "keys": {"<kid>": {"kty": "OKP", "crv": "Ed25519", "d": "…", "created_at": "…"}}}

A key is a JWK (RFC 7517; RFC 8037 for Ed25519, RFC 7518 §6.4 for ``oct``). The active key signs; the others only
verify, until they are removed from the file. Files appear and change by one atomic rename or link, so a reader never
sees half of one.
"""

import base64
import binascii
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tallystick.errors import ConfigurationError

_log = structlog.get_logger(__name__)

Fingerprint = tuple[int, int, int]

SECRET_BYTES: Final = 32


class KeyKind(StrEnum):
    """What a key file is for."""

    TOKEN_SIGNING = "token_signing"  # noqa: S105  (a file's name)
    CURSOR_SIGNING = "cursor_signing"
    RETRY_DIGEST = "retry_digest"
    MASTER = "master"
    HS256 = "hs256"


FIRST_RUN_KINDS: Final = (KeyKind.TOKEN_SIGNING, KeyKind.CURSOR_SIGNING, KeyKind.RETRY_DIGEST, KeyKind.MASTER)
"""Kinds that are made when absent. HS256 is the operator's choice: `rotate` makes it, or they bring their own."""


class SigningKeys:
    """Secret keys by id: one that is active and older ones still honoured.

    Both properties may change between two looks when the key file is rotated; work that must agree with itself (a
    batch) takes them once.
    """

    def __init__(self, active_id: str, keys: Mapping[str, bytes]) -> None:
        self._active_id = active_id
        self._keys = MappingProxyType(dict(keys))

    @property
    def active_id(self) -> str:
        """The id of the key to sign with."""
        return self._active_id

    @property
    def keys(self) -> Mapping[str, bytes]:
        """All keys by id, the active one included."""
        return self._keys


@dataclass(frozen=True, slots=True)
class KeySet:
    """What a key file held when it was read.

    Attributes:
        active_id: The id of the key to sign with.
        secrets: The secret bytes by key id: an Ed25519 seed, or symmetric bytes.
        created_at: When each key was made, as RFC 3339, or an empty string when the file does not say.
    """

    active_id: str
    secrets: Mapping[str, bytes]
    created_at: Mapping[str, str]


class KeyFile(SigningKeys):
    """One key file. Every look costs a `stat` (about 2 µs); the file is read again when that differs.

    While the file is missing or damaged after it was once read, the last good keys stay in use.
    """

    def __init__(self, path: Path, kind: KeyKind) -> None:
        self.path = path
        self.kind = kind
        self._seen, self._set = _read(path, kind)
        self._refused: Fingerprint | None = None

    @property
    def current(self) -> KeySet:
        """The keys as the file now holds them; the same object as long as they do not change."""
        try:
            now = _fingerprint(os.stat(self.path))  # noqa: PTH116  (a third of Path.stat's cost)
        except OSError:
            return self._set
        if now not in (self._seen, self._refused):
            self._read_again(now)
        return self._set

    def _read_again(self, now: Fingerprint) -> None:
        try:
            self._seen, found = _read(self.path, self.kind)
        except ConfigurationError as error:
            self._refused = now
            _log.warning("key_file_not_read", kind=self.kind.value, reason=str(error))
            return
        self._refused = None
        if found != self._set:
            self._set = found

    @property
    def active_id(self) -> str:
        """The id of the key to sign with."""
        return self.current.active_id

    @property
    def keys(self) -> Mapping[str, bytes]:
        """All keys by id, the active one included."""
        return self.current.secrets


class GivenKeys(SigningKeys):
    """The content of a key file that was handed over without one. It never changes."""

    def __init__(self, kind: KeyKind, given: KeySet) -> None:
        super().__init__(given.active_id, given.secrets)
        self.kind = kind
        self.current = given


HeldKeys: TypeAlias = KeyFile | GivenKeys


@dataclass(frozen=True, slots=True)
class Keyring:
    """All keys of an installation.

    Attributes:
        token_signing: Ed25519 seeds of the local token issuer.
        cursor_signing: HMAC keys of listing cursors.
        retry_digest: HMAC keys that tell a retry from other content.
        master: Keys that wrap the data keys of tenants, unless AWS KMS does.
        hs256: Shared secrets for HS256 tokens of the local issuer, or None when there is no such file.
    """

    token_signing: HeldKeys
    cursor_signing: HeldKeys
    retry_digest: HeldKeys
    master: HeldKeys
    hs256: HeldKeys | None

    @classmethod
    def of(cls, keys: Mapping[KeyKind, HeldKeys]) -> "Keyring":
        """Put together what each of `FIRST_RUN_KINDS` has, and what HS256 may have."""
        return cls(
            token_signing=keys[KeyKind.TOKEN_SIGNING],
            cursor_signing=keys[KeyKind.CURSOR_SIGNING],
            retry_digest=keys[KeyKind.RETRY_DIGEST],
            master=keys[KeyKind.MASTER],
            hs256=keys.get(KeyKind.HS256),
        )


def load_or_create(keys_dir: Path) -> Keyring:
    """Open the key files, making those that are missing. Safe when several processes start at once.

    Raises:
        ConfigurationError: A file cannot be made or read, is damaged, or may be touched by strangers.
    """
    _ensure_folder(keys_dir)
    for kind in FIRST_RUN_KINDS:
        path = key_path(keys_dir, kind)
        if not path.exists():
            _create(path, with_new_key(kind))
    paths = {kind: key_path(keys_dir, kind) for kind in KeyKind}
    return Keyring.of(
        {kind: KeyFile(path, kind) for kind, path in paths.items() if kind in FIRST_RUN_KINDS or path.exists()}
    )


def rotate(keys_dir: Path, kind: KeyKind, *, drop_old: bool = False) -> str:
    """Add a new key, make it the active one and return its id. The old ones keep verifying unless they are dropped.

    Args:
        keys_dir: The folder of the key files.
        kind: Which file.
        drop_old: Remove all older keys, so that what they signed holds no more: after a leak.

    Raises:
        ConfigurationError: The file cannot be read or written, or master keys were to be dropped.
    """
    _ensure_folder(keys_dir)
    path = key_path(keys_dir, kind)
    with _exclusive(keys_dir):
        held: dict[str, Any] = {}
        if path.exists():
            _read(path, kind)
            held = json.loads(path.read_bytes())
        rotated = with_new_key(kind, held, drop_old=drop_old)
        _replace(path, rotated)
    return rotated["active"]


def key_path(keys_dir: Path, kind: KeyKind) -> Path:
    """The file of a kind."""
    return keys_dir / f"{kind}.json"


def with_new_key(kind: KeyKind, held: Mapping[str, Any] | None = None, *, drop_old: bool = False) -> dict[str, Any]:
    """The content of a key file with a new key, which is the active one.

    Args:
        kind: Which file.
        held: What it has until now.
        drop_old: Whether to leave out what it has.

    Raises:
        ConfigurationError: Master keys were to be dropped.
    """
    if drop_old and kind is KeyKind.MASTER:
        raise ConfigurationError(
            "master keys are never dropped so: what they wrap would be lost. Run `tallystick keys rotate-master`, then"
            " take the old key out of where the master keys are"
        )
    kid, key = _new_key(kind)
    kept: dict[str, Any] = {} if drop_old or not held else held["keys"]
    return {"active": kid, "keys": {**kept, kid: key}}


def read_keys(document: Any, kind: KeyKind, where: str) -> KeySet:  # noqa: ANN401  # whatever JSON holds
    """The keys in the content of a key file.

    Args:
        document: The content, as parsed JSON.
        kind: Which file's it is.
        where: Where it came from, for the error.

    Raises:
        ConfigurationError: It is not that of a key file; never with any of it.
    """
    try:
        keys: dict[str, dict[str, str]] = document["keys"]
        found = KeySet(
            active_id=cast("str", document["active"]),
            secrets=MappingProxyType({kid: _secret_of(key, kind) for kid, key in keys.items()}),
            created_at=MappingProxyType({kid: key.get("created_at", "") for kid, key in keys.items()}),
        )
        found.secrets[found.active_id]
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise ConfigurationError(
            f"{where} is not a key file: it needs an `active` key id and `keys` as JWKs of at least"
            f" {SECRET_BYTES} bytes"
        ) from None
    return found


def _new_key(kind: KeyKind) -> tuple[str, dict[str, str]]:
    secret = secrets.token_bytes(SECRET_BYTES)
    made = {"created_at": datetime.now(UTC).isoformat(timespec="seconds")}
    kid = f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(4)}"
    if kind is KeyKind.TOKEN_SIGNING:
        public = Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        return kid, {"kty": "OKP", "crv": "Ed25519", "d": _encode(secret), "x": _encode(public), **made}
    return kid, {"kty": "oct", "k": _encode(secret), **made}


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _fingerprint(status: os.stat_result) -> Fingerprint:
    return status.st_ino, status.st_ctime_ns, status.st_size


def _read(path: Path, kind: KeyKind) -> tuple[Fingerprint, KeySet]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except OSError as error:
        raise ConfigurationError(f"cannot read the keys in {path}: {error.strerror}") from error
    if stat.S_IMODE(status.st_mode) & 0o027:
        raise ConfigurationError(f"others can reach the secret keys in {path}: run `chmod 600 {path}`")
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    return _fingerprint(status), read_keys(document, kind, str(path))


def _secret_of(key: Mapping[str, str], kind: KeyKind) -> bytes:
    expected = "OKP" if kind is KeyKind.TOKEN_SIGNING else "oct"
    secret = _decode(key["d" if expected == "OKP" else "k"])
    exact = kind is KeyKind.TOKEN_SIGNING
    if key["kty"] != expected or len(secret) < SECRET_BYTES or (exact and len(secret) != SECRET_BYTES):
        raise ValueError(key["kty"])
    return secret


def _ensure_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
    except OSError as error:
        raise ConfigurationError(f"cannot make the key folder {folder}: {error.strerror}") from error
    if mode & 0o022:
        raise ConfigurationError(f"others can write to the key folder {folder}: run `chmod 700 {folder}`")


def _write_beside(path: Path, document: Mapping[str, object]) -> Path:
    """Write the document, synced, to a new file of mode 0600 in the same folder."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(document, indent=2).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return beside


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _create(path: Path, document: Mapping[str, object]) -> None:
    """Publish a new file by hard link, which fails when another process was first; then that one's file is the file."""
    try:
        beside = _write_beside(path, document)
        try:
            with suppress(FileExistsError):
                path.hardlink_to(beside)
        finally:
            beside.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"cannot write the keys to {path}: {error.strerror}") from error


def _replace(path: Path, document: Mapping[str, object]) -> None:
    try:
        _write_beside(path, document).replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"cannot write the keys to {path}: {error.strerror}") from error


@contextmanager
def _exclusive(folder: Path) -> Generator[None]:
    """Let one rotation at a time read, change and write: two at once would lose a key."""
    try:
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(f"cannot lock the key folder {folder}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
