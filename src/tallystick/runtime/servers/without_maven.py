"""Fetches artifacts where there is no Maven, through the package jgo: a program of its own, so that it can be ended.

Usage: ``python -m tallystick.runtime.servers.without_maven FOLDER GROUP:ARTIFACT:VERSION:TYPE…``
"""

import sys
from pathlib import Path

from jgo.maven import MavenContext

_TIMEOUT = 60


def main(folder: str, *coordinates: str) -> None:
    """Fetch each artifact into the folder, at the place it has in a Maven repository."""
    context = MavenContext(repo_cache=Path(folder), timeout=_TIMEOUT)
    for each in coordinates:
        group, artifact, version, packaging = each.split(":")
        context.project(group, artifact).at_version(version).artifact(packaging=packaging).resolve()


if __name__ == "__main__":
    main(*sys.argv[1:])
