"""Looks the locked dependencies up in the advisory database, and says how many could be looked up."""

import json
import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"


def main(lock: Path) -> int:
    """Run pip-audit over a lock; 1 when a dependency has a known vulnerability. Without a network nothing is known."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--disable-pip", "--no-deps"]
    # As with uv, the system's certificates: a proxy of the house is trusted.
    system = ssl.get_default_verify_paths().cafile
    trust = {"REQUESTS_CA_BUNDLE": system} if system is not None else {}
    run = subprocess.run(  # noqa: S603  # our own arguments
        [*command, "--format", "json", "--progress-spinner", "off"],
        capture_output=True,
        text=True,
        check=False,
        env={**trust, **os.environ},
    )
    if any(reason in run.stderr for reason in ("ConnectionError", "SSLError", "Max retries exceeded")):
        print("the advisory database cannot be reached: no dependency was audited")
        return 0
    try:
        dependencies = json.loads(run.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"pip-audit failed:\n{run.stderr}", file=sys.stderr)
        return 1
    return report(dependencies)


def report(dependencies: list[dict[str, Any]]) -> int:
    """Say what pip-audit found; 1 when one of them is vulnerable."""
    vulnerable = [one for one in dependencies if one.get("vulns")]
    for one in vulnerable:
        for flaw in one["vulns"]:
            fixed = ", ".join(flaw["fix_versions"]) or "no release yet"
            print(f"{one['name']} {one['version']}: {flaw['id']}, mended in {fixed}", file=sys.stderr)
    unknown = sum("skip_reason" in one for one in dependencies)
    if unknown and unknown == len(dependencies):
        print("the index gave no advisories: no dependency was audited")
        return 0
    print(f"{len(dependencies) - unknown} dependencies audited, {len(vulnerable)} vulnerable", end="")
    print(f"; the index gave no advisories for {unknown}" if unknown else "")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else LOCK))
