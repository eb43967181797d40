"""Writes the lists of what OpenSearch and ElasticMQ are made of, from the versions named in their modules.

Needs Maven. Run it after a change of a version; read the difference before committing it.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from tallystick.runtime.servers import elasticmq, opensearch

PACKAGE = Path(elasticmq.__file__).parent


def resolve(coordinates: str, folder: Path) -> list[str]:
    """Copy an artifact and what it needs at run time into a folder; returns a line of the list for each file."""
    group, artifact, version, packaging = coordinates.split(":")
    pom = folder / "pom.xml"
    pom.write_text(
        "<project><modelVersion>4.0.0</modelVersion><groupId>lock</groupId><artifactId>lock</artifactId>"
        f"<version>1</version><dependencies><dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version><type>{packaging}</type></dependency></dependencies></project>"
    )
    files = folder / "files"
    options = ("-DincludeScope=runtime", "-Dmdep.useRepositoryLayout=true", f"-DoutputDirectory={files}")
    subprocess.run(["mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", *options], check=True)  # noqa: S603, S607 - a fixed command
    lines: list[str] = []
    for file in sorted(path for path in files.rglob("*") if path.suffix in (".jar", ".zip")):
        *parents, name, number = file.parent.relative_to(files).parts
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        lines.append(f"{digest} {len(content)} {'.'.join(parents)}:{name}:{number}:{file.suffix[1:]}")
    return lines


def main() -> None:
    """Write both lists."""
    for module in (opensearch, elasticmq):
        with tempfile.TemporaryDirectory() as folder:
            lines = resolve(module.COORDINATES, Path(folder))
        head = "# Made by scripts/lock_artifacts.py: SHA-256, bytes, Maven coordinates."
        (PACKAGE / module.BUNDLE.lock.name).write_text("\n".join((head, *lines, "")))
        print(f"{module.BUNDLE.lock.name}: {len(lines)} files")


if __name__ == "__main__":
    sys.exit(main())
