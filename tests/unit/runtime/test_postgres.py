import os
from pathlib import Path

import pytest

from tallystick.errors import ConfigurationError
from tallystick.runtime.diagnosis import explain, recent_lines
from tallystick.runtime.postgres import EmbeddedPostgres, server_settings, socket_directory


def _server(state: Path, least_free: int = 0) -> EmbeddedPostgres:
    return EmbeddedPostgres(state / "data", state / "socket", state / "postgres.log", least_free=least_free)


def test_the_socket_lies_in_the_state_directory_when_its_path_is_short() -> None:
    assert socket_directory(Path("/srv/tallystick")) == Path("/srv/tallystick/socket")


def test_the_socket_of_a_deep_state_directory_lies_elsewhere_and_each_has_its_own() -> None:
    deep = Path("/srv") / ("long" * 40)
    found = socket_directory(deep)
    assert len(os.fsencode(found / ".s.PGSQL.5432")) < 104
    assert found != socket_directory(deep / "other")
    assert found == socket_directory(deep)


def test_data_of_another_major_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(ConfigurationError, match=r"PostgreSQL 17 .*PostgreSQL 18.*TALLYSTICK_HOME"):
        _server(tmp_path).initialise()
    assert (tmp_path / "data" / "PG_VERSION").read_text() == "17\n"


def test_foreign_files_in_the_place_of_the_data_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="holds files but no PostgreSQL data"):
        _server(tmp_path).initialise()
    assert (tmp_path / "data" / "thesis.txt").read_text() == "mine"


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the disk is full.*free some space"):
        _server(tmp_path, least_free=2**62).initialise()
    assert not (tmp_path / "data").exists()


def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "socket").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match="belongs to somebody else"):
        _server(tmp_path).initialise()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_root_gives_nothing_away_that_a_link_in_the_place_of_the_socket_folder_names(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o755)
    (tmp_path / "socket").symlink_to(precious)
    with pytest.raises(ConfigurationError, match="belongs to somebody else"):
        _server(tmp_path).initialise()
    assert precious.stat().st_uid == 0
    assert precious.stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_root_does_not_take_over_the_socket_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "socket").mkdir()
    os.chown(tmp_path / "socket", 12_345, 12_345)
    with pytest.raises(ConfigurationError, match="belongs to somebody else"):
        _server(tmp_path).initialise()
    assert (tmp_path / "socket").stat().st_uid == 12_345


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("FATAL:  could not write lock file: No space left on device", "free some space"),
        ("initdb: error: could not create directory: Permission denied", "check who owns"),
        ("FATAL:  could not map anonymous shared memory: Cannot allocate memory", "free some memory"),
        ("2026 FATAL:  something new", "something new"),
    ],
)
def test_what_postgres_says_becomes_what_to_do(line: str, advice: str) -> None:
    assert advice in str(explain(["LOG:  starting", line], "PostgreSQL did not start", Path("/srv/data")))


def test_an_older_failure_is_not_taken_for_this_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("FATAL: old\nnew\n")
    assert recent_lines(log, 11) == ["new"]
    assert "said nothing" in str(explain(recent_lines(tmp_path / "none", 0), "it", tmp_path))


def test_a_log_that_was_emptied_since_is_read_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("FATAL: new\n")
    assert recent_lines(log, 5_000) == ["FATAL: new"]


def test_what_must_last_is_synced_and_rows_stay_out_of_the_log(tmp_path: Path) -> None:
    command = EmbeddedPostgres(tmp_path / "data", tmp_path, tmp_path / "log", server_settings(30)).command()
    for setting in ("fsync=on", "synchronous_commit=on", "listen_addresses=", "log_error_verbosity=terse"):
        assert setting in command
    assert "max_connections=40" in command
