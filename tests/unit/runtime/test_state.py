from pathlib import Path

import pytest

from tallystick.errors import ConfigurationError
from tallystick.runtime.state import Run, StateDirectory
from tallystick.settings import Settings

RUN = Run("http://127.0.0.1:1", "http://127.0.0.1:1/docs", "default", "token", None, 1, "0")


def _state(tmp_path: Path) -> StateDirectory:
    return StateDirectory.from_settings(Settings(home=tmp_path / "state"))


def test_its_secrets_are_closed_to_others(tmp_path: Path) -> None:
    state = _state(tmp_path)
    with state.lock():
        state.prepare()
        state.write_run(RUN)
    for folder in (state.keys, state.logs, state.admin_token.parent, state.metrics):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert state.run_file.stat().st_mode & 0o777 == 0o600
    state.metrics.rmdir()


def test_a_second_holder_is_refused_and_told_what_to_do(tmp_path: Path) -> None:
    state = _state(tmp_path)
    with state.lock(), pytest.raises(ConfigurationError, match=r"already runs.*TALLYSTICK_HOME"), state.lock():
        pass
    with state.lock():
        pass


def test_a_run_counts_only_while_its_supervisor_holds_the_lock(tmp_path: Path) -> None:
    state = _state(tmp_path)
    assert state.read_run() is None
    with state.lock():
        state.write_run(RUN)
        assert state.read_run() == RUN
    assert state.read_run() is None


def test_a_damaged_run_file_is_none(tmp_path: Path) -> None:
    state = _state(tmp_path)
    with state.lock():
        state.run_file.write_text("{")
        assert state.read_run() is None


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    state = StateDirectory.from_settings(Settings(home=tmp_path / "state" / "inside"))
    with pytest.raises(ConfigurationError, match="TALLYSTICK_HOME"), state.lock():
        pass
