"""Looks for secrets in the tracked files, or in those that are named: keys, tokens, passwords that somebody left there.

What detect-secrets finds and `.secrets.baseline` does not hold is printed, never the secret itself, and the exit status
is 1. A find that is none is allowed by `# pragma: allowlist secret` in its line, or by `--allow`, which adds all there
are to the baseline: for whoever reviews the change of that file to judge. Files that were found clean are remembered
by their content, so that a second run takes a moment.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from detect_secrets.core.scan import scan_file
from detect_secrets.settings import configure_settings_from_baseline

ROOT = Path(__file__).parents[1]
BASELINE = ROOT / ".secrets.baseline"
REMEMBERED = ROOT / ".cache" / "without-secrets.json"

Found = dict[str, Any]


def tracked() -> list[str]:
    """The tracked files that are there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)  # noqa: S607
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def secrets_in(name: str) -> list[Found]:
    """What one file holds, as the baseline has it."""
    configure_settings_from_baseline(json.loads(BASELINE.read_text()))
    return [each.json() for each in scan_file(str(ROOT / name))]


def search(names: list[str]) -> dict[str, list[Found]]:
    """What files hold, those aside that were searched before."""
    settings = {name: value for name, value in json.loads(BASELINE.read_text()).items() if name.endswith("_used")}
    rules = json.dumps(settings, sort_keys=True) + version("detect-secrets")
    contents = {name: hashlib.sha256(rules.encode() + (ROOT / name).read_bytes()).hexdigest() for name in names}
    remembered = set(json.loads(REMEMBERED.read_text())) if REMEMBERED.exists() else set[str]()
    new = [name for name in names if contents[name] not in remembered]
    with ProcessPoolExecutor() as pool:
        found = dict(zip(new, pool.map(secrets_in, new, chunksize=8), strict=True))
    clean = {contents[name] for name in names if not found.get(name)}
    REMEMBERED.parent.mkdir(exist_ok=True)
    REMEMBERED.write_text(json.dumps(sorted(clean | remembered if len(names) < len(tracked()) else clean)))
    return {name: each for name, each in found.items() if each}


def allow(found: dict[str, list[Found]]) -> None:
    """Add what was found to the baseline, and take out what is there no more."""
    baseline = json.loads(BASELINE.read_text())
    baseline["results"] = {
        name: [{**each, "filename": name, "is_secret": False} for each in found[name]] for name in sorted(found)
    }
    BASELINE.write_text(json.dumps(baseline, indent=2, sort_keys=True) + "\n")


def main() -> int:
    """Search; 1 when there is something that nobody allowed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--allow", action="store_true", help="add what is found to the baseline; look at it first")
    parser.add_argument("files", nargs="*", help="all tracked files when absent")
    asked = parser.parse_args()
    found = search(asked.files or tracked())
    if asked.allow:
        allow(found)
    held = json.loads(BASELINE.read_text())["results"]
    known = {(name, each["type"], each["hashed_secret"]) for name, listed in held.items() for each in listed}
    left = [
        f"{name}:{each['line_number']}: {each['type']}"
        for name, listed in found.items()
        for each in listed
        if (name, each["type"], each["hashed_secret"]) not in known
    ]
    for line in left:
        print(line, file=sys.stderr)
    if left:
        print(
            "if it is a secret, take it out and revoke it; if it is none, say so in the line (`# pragma: allowlist "
            "secret`), or review it and run `python scripts/find_secrets.py --allow`",
            file=sys.stderr,
        )
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
