"""What is told of a running cluster: `cluster.json`, kept true while processes come and go."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tallystick.runtime.site import Site
from tallystick.runtime.state import StateDirectory, write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A running cluster.

    Attributes:
        url: Of the API, over TLS.
        http_url: What redirects there.
        authority_file: The certificate that clients trust.
        token_file: A platform admin's token.
        balancer_url: HAProxy's own `/metrics` and `/healthz`.
        admin_socket: HAProxy's runtime API.
        api_urls: The API processes themselves, whose `/metrics` the balancer does not pass on.
        worker_urls: The workers' own doors, with `/metrics` and `/healthz`.
        release: The tree whose code our processes run.
        pids: Of all processes, by name.
    """

    url: str
    http_url: str
    authority_file: str
    token_file: str
    balancer_url: str
    admin_socket: str
    api_urls: Mapping[str, str]
    worker_urls: Mapping[str, str]
    release: str
    pids: Mapping[str, int] = field(default_factory=dict[str, int])

    @classmethod
    def read(cls, state: StateDirectory) -> "Picture | None":
        """The cluster that runs in a state directory; None where none does, or is not up yet."""
        if state.read_run() is None:
            return None
        try:
            return cls(**json.loads(picture_file(state).read_text()))
        except (OSError, ValueError, TypeError):
            return None


def picture_file(state: StateDirectory) -> Path:
    """Where the running cluster is described."""
    return state.home / "cluster.json"


class Bulletin:
    """Writes the description, from its first publication on whenever something is said of a process.

    Args:
        site: Whose processes.
        tell: Whom all that is said is passed on to.
    """

    def __init__(self, site: Site, tell: Callable[[str], None]) -> None:
        self._site = site
        self._tell = tell
        self._picture: Picture | None = None
        site.at_end.callback(picture_file(site.state).unlink, missing_ok=True)

    def report(self, line: str) -> None:
        """Pass on what is said: a process that died or started has another number now.

        Where that cannot be written, as on a full disk, the description is old, and all else goes on.
        """
        self._tell(line)
        if self._picture is not None:
            with suppress(OSError):
                self.publish(self._picture)

    def publish(self, picture: Picture) -> Picture:
        """Say what runs now; returns it with the numbers of its processes."""
        self._picture = replace(picture, pids=self._site.floors.pids())
        write_atomically(picture_file(self._site.state), json.dumps(asdict(self._picture), indent=2) + "\n")
        return self._picture

    def released(self, tree: Path) -> None:
        """Say that another release runs."""
        if self._picture is not None:
            self._picture = replace(self._picture, release=str(tree))
            self.report(f"all run the release in {tree}")
