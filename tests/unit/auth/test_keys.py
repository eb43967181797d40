import asyncio
import json
import stat
import sys
from pathlib import Path

import pytest

from tallystick.auth.keys import KeyKind, SigningKeys, load_or_create, rotate
from tallystick.errors import ConfigurationError

RACE = """
import sys
from pathlib import Path
from tallystick.auth.keys import load_or_create
sys.stdin.readline()
ring = load_or_create(Path(sys.argv[1]))
print(ring.token_signing.active_id, ring.cursor_signing.keys[ring.cursor_signing.active_id].hex(),
      ring.retry_digest.keys[ring.retry_digest.active_id].hex())
"""

ROTATE = """
import sys
from pathlib import Path
from tallystick.auth.keys import KeyKind, rotate
sys.stdin.readline()
print(rotate(Path(sys.argv[1]), KeyKind.CURSOR_SIGNING))
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def race(script: str, folder: Path, processes: int = 4) -> list[str]:
    """Run the script in processes that all start at one signal; what each printed."""
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(folder), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(processes)
    ]
    outputs = await asyncio.wait_for(asyncio.gather(*(process.communicate(b"\n") for process in started)), 60)
    assert [process.returncode for process in started] == [0] * processes
    return [out.decode() for out, _ in outputs]


def test_first_run_makes_private_files_in_a_private_folder(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "keys"
    ring = load_or_create(folder)
    assert mode(folder) == 0o700
    assert {path.name: mode(path) for path in folder.iterdir()} == {
        "token_signing.json": 0o600,
        "cursor_signing.json": 0o600,
        "retry_digest.json": 0o600,
        "master.json": 0o600,
    }
    assert [len(ring.cursor_signing.keys[ring.cursor_signing.active_id]), len(ring.retry_digest.keys)] == [32, 1]
    assert ring.hs256 is None


def test_a_second_start_finds_the_same_keys(tmp_path: Path) -> None:
    first = load_or_create(tmp_path / "keys")
    second = load_or_create(tmp_path / "keys")
    assert first.token_signing.current == second.token_signing.current
    assert dict(first.retry_digest.keys) == dict(second.retry_digest.keys)


async def test_processes_that_start_at_once_agree_on_the_keys(tmp_path: Path) -> None:
    said = await race(RACE, tmp_path / "keys")
    assert len(set(said)) == 1
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [
        "cursor_signing.json",
        "master.json",
        "retry_digest.json",
        "token_signing.json",
    ]


async def test_rotations_at_once_lose_no_key(tmp_path: Path) -> None:
    before = load_or_create(tmp_path / "keys").cursor_signing.active_id
    made = {kid.strip() for kid in await race(ROTATE, tmp_path / "keys")}
    now = load_or_create(tmp_path / "keys").cursor_signing
    assert len(made) == 4
    assert set(now.keys) == made | {before}
    assert now.active_id in made


def test_a_rotation_is_seen_by_a_running_process_and_keeps_old_keys(tmp_path: Path) -> None:
    ring = load_or_create(tmp_path / "keys")
    held = ring.cursor_signing.current
    assert ring.cursor_signing.current is held
    kid = rotate(tmp_path / "keys", KeyKind.CURSOR_SIGNING)
    assert ring.cursor_signing.active_id == kid
    assert ring.cursor_signing.keys[held.active_id] == held.secrets[held.active_id]
    assert mode(tmp_path / "keys" / "cursor_signing.json") == 0o600


def test_dropping_old_keys_leaves_the_new_one_alone(tmp_path: Path) -> None:
    ring = load_or_create(tmp_path / "keys")
    kid = rotate(tmp_path / "keys", KeyKind.TOKEN_SIGNING, drop_old=True)
    assert list(ring.token_signing.keys) == [kid]


@pytest.mark.parametrize("damage", [None, "{", "[]", '{"active": "x", "keys": {}}'])
def test_damage_at_run_time_keeps_the_last_good_keys(tmp_path: Path, damage: str | None) -> None:
    ring = load_or_create(tmp_path / "keys")
    held = dict(ring.retry_digest.keys)
    file = tmp_path / "keys" / "retry_digest.json"
    if damage is None:
        file.unlink()
    else:
        file.write_text(damage)
    assert dict(ring.retry_digest.keys) == held
    kid = rotate_anew(tmp_path / "keys", file)
    assert ring.retry_digest.active_id == kid


def rotate_anew(folder: Path, file: Path) -> str:
    """What an operator does about a damaged file: set it aside, and let a new one be made."""
    file.unlink(missing_ok=True)
    return rotate(folder, KeyKind.RETRY_DIGEST)


def test_a_file_whose_mode_was_mended_is_read(tmp_path: Path) -> None:
    ring = load_or_create(tmp_path / "keys")
    file = tmp_path / "keys" / "cursor_signing.json"
    kid = rotate(tmp_path / "keys", KeyKind.CURSOR_SIGNING)
    file.chmod(0o644)
    assert ring.cursor_signing.active_id != kid
    assert ring.cursor_signing.active_id != kid
    file.chmod(0o600)
    assert ring.cursor_signing.active_id == kid


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"active": "a", "keys": {}}',
        '{"active": "a", "keys": {"a": {"kty": "oct", "k": "c2hvcnQ"}}}',
        '{"active": "a", "keys": {"a": {"kty": "oct", "k": "!!!"}}}',
        '{"active": "a", "keys": {"a": {"kty": "oct"}}}',
        '{"active": "a", "keys": {"a": 1}}',
        '{"active": ["a"], "keys": {"a": {"kty": "oct", "k": "%s"}}}' % ("A" * 43),
        '{"active": "a", "keys": {"a": {"kty": "RSA", "k": "%s"}}}' % ("A" * 43),
    ],
)
def test_a_damaged_file_at_start_says_which(tmp_path: Path, content: str) -> None:
    load_or_create(tmp_path / "keys")
    (tmp_path / "keys" / "retry_digest.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"retry_digest\.json is not a key file"):
        load_or_create(tmp_path / "keys")


def test_a_file_that_strangers_can_read_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path / "keys")
    (tmp_path / "keys" / "token_signing.json").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_or_create(tmp_path / "keys")


def test_a_folder_that_strangers_can_write_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        load_or_create(folder)


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot make the key folder"):
        load_or_create(tmp_path / "file" / "keys")


def test_keys_are_jwks(tmp_path: Path) -> None:
    load_or_create(tmp_path / "keys")
    document = json.loads((tmp_path / "keys" / "token_signing.json").read_text())
    key = document["keys"][document["active"]]
    assert (key["kty"], key["crv"]) == ("OKP", "Ed25519")
    assert set(key) == {"kty", "crv", "d", "x", "created_at"}


def test_plain_signing_keys_do_not_follow_their_source() -> None:
    source = {"a": b"x" * 32}
    keys = SigningKeys("a", source)
    source["b"] = b"y" * 32
    assert list(keys.keys) == ["a"]
