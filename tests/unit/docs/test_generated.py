"""The pages that follow from code agree with it."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from setting_fields import setting_fields
from tallystick.errors import TallystickError
from tallystick.settings import DatabaseSettings

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs" / "reference"


def test_the_generated_pages_are_current() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "generate_docs.py", "--check"], capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stderr


def test_every_setting_is_in_the_table_with_a_meaning() -> None:
    text = (REFERENCE / "settings.md").read_text()

    for name in setting_fields():
        row = re.search(rf"^\| `{name}` \|.*\| (.+) \|$", text, re.MULTILINE)
        assert row is not None, f"{name} has no row"
        assert row[1].strip(), f"{name} has no description"


def _slugs(root: type[TallystickError]) -> set[str]:
    return {root.slug}.union(*(_slugs(child) for child in root.__subclasses__()))


def test_every_error_has_its_section() -> None:
    assert importlib.util.find_spec("tallystick.api.problems") is not None
    importlib.import_module("tallystick.api.problems")
    documented = set(re.findall(r"^### ([a-z-]+)$", (REFERENCE / "errors.md").read_text(), re.MULTILINE))

    assert documented == _slugs(TallystickError)


def test_every_metric_is_documented_and_no_other() -> None:
    made: set[str] = set()
    for module in (ROOT / "src" / "tallystick").rglob("*.py"):
        if "prometheus_client" in (text := module.read_text()):
            made |= set(re.findall(r"""["'](tallystick_[a-z_]+)["']""", text))
    documented = set(re.findall(r"^\| `(tallystick_[a-z_]+)`", (REFERENCE / "metrics.md").read_text(), re.MULTILINE))

    assert made
    assert documented == made


def test_a_variable_named_in_the_docs_is_a_setting() -> None:
    table = set(re.findall(r"`(TALLYSTICK_[A-Z_]+)`", (REFERENCE / "settings.md").read_text()))
    balancer = set(re.findall(r"TALLYSTICK_[A-Z_]*[A-Z]\b", (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text()))
    others = {"TALLYSTICK_API__"} | {f"TALLYSTICK_TEST_{name}" for name in ("ENGINE", "IMAGE", "TIMESCALEDB_URL")}
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        named = set(re.findall(r"\bTALLYSTICK_[A-Z_]*[A-Z]\b", page.read_text()))
        assert named <= table | balancer | others, f"{page.name}: {named - table}"


def test_the_time_outs_for_a_pooler_are_the_defaults() -> None:
    page = (ROOT / "docs" / "how-to" / "connection-poolers.md").read_text()
    said = dict(re.findall(r"alter role (\w+ in database \w+ set \w+_timeout) = '(\d+)s'", page))
    defaults = DatabaseSettings()

    assert len(said) == 12
    for parameter, seconds in said.items():
        role, _, name = parameter.partition(" in database tallystick set ")
        wanted = {
            "statement_timeout": defaults.append_timeout if role.endswith("writer") else defaults.statement_timeout,
            "lock_timeout": defaults.lock_timeout,
            "idle_in_transaction_session_timeout": defaults.idle_in_transaction_timeout,
        }[name]
        assert float(seconds) == wanted, parameter
