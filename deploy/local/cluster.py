"""The production picture without an engine: `python deploy/local/cluster.py`, or `make cluster`.

HAProxy, two API processes, two workers, PostgreSQL, OpenSearch, ElasticMQ and Valkey run on this machine under one
supervisor, as docs/how-to/run-a-cluster-on-one-host.md describes.
"""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from picture.balancer import Ports, states_of
from picture.control import order_roll
from picture.description import Picture
from picture.release import Release
from picture.running import Cluster, control_socket
from tallystick.cli.acting import acting
from tallystick.cli.reading import load_settings
from tallystick.cli.terminal import fetch_display, reporter
from tallystick.errors import ConfigurationError
from tallystick.runtime.state import StateDirectory

_DEFAULTS = {
    "TALLYSTICK_SEARCH__ENGINE": "opensearch",
    "TALLYSTICK_QUEUE__KIND": "sqs",
    "TALLYSTICK_API__TRUSTED_PROXIES": '["127.0.0.1"]',
    "TALLYSTICK_API__DRAIN_NOTICE": "3",
}
"""Settings of the picture; the environment's go before."""

_OWN_TREE = Path(__file__).resolve().parents[2]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]


@app.command()
def up(
    *,
    host: Annotated[str, typer.Option(help="Address that clients reach.")] = "127.0.0.1",
    https_port: Annotated[int, typer.Option(help="Port of the API; 0 takes any free one.")] = 8443,
    http_port: Annotated[int, typer.Option(help="Port that redirects there; 0 takes any free one.")] = 8080,
    as_json: AsJson = False,
) -> None:
    """Run everything until Ctrl-C."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    console = Console(highlight=False)

    def announce(picture: Picture) -> None:
        if as_json:
            print(json.dumps(asdict(picture)), flush=True)
            return
        console.print(Text("\nThe cluster is running; Ctrl-C stops it.", style="bold green"))
        for name, value in (
            ("API", f"{picture.url}/api/v1"),
            ("Docs", f"{picture.url}/docs"),
            ("Trust", picture.authority_file),
            ("Token", picture.token_file),
        ):
            console.print(Text.assemble((f"  {name:<8}", "dim"), value), soft_wrap=True)

    cluster = Cluster(
        load_settings(),
        acting,
        reporter(console, quiet=as_json),
        announce,
        Ports(host, https_port, http_port),
        Release.of(_OWN_TREE),
        fetch_display(console, quiet=as_json),
    )
    asyncio.run(cluster.run())


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Say what runs, and whom the balancer sends requests to."""
    state = StateDirectory.from_settings(load_settings())
    picture = Picture.read(state)
    if picture is None:
        raise ConfigurationError(f"no cluster runs in {state.home}: start one with `make cluster`")
    try:
        servers = asyncio.run(states_of(Path(picture.admin_socket)))
    except OSError as error:
        servers = {"the balancer": f"does not answer: {error.strerror}"}
    if as_json:
        print(json.dumps({**asdict(picture), "servers": servers}))
        return
    table = Table("Process", "Number")
    for name, pid in picture.pids.items():
        table.add_row(name, str(pid))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{picture.url} runs the release in {picture.release}", soft_wrap=True)
    for name, said in servers.items():
        console.print(f"{name}: {said}", soft_wrap=True)


@app.command()
def roll(
    tree: Annotated[
        Path, typer.Argument(help="A checkout of the new release; its own .venv is used where it has one.")
    ],
) -> None:
    """Replace API processes and workers, one after the other, by those of another release, and migrate before."""
    state = StateDirectory.from_settings(load_settings())
    asyncio.run(order_roll(control_socket(state), tree.resolve(), reporter(Console(highlight=False), quiet=False)))


def main() -> None:
    """Run the command that is named, and say what a person must mend."""
    if len(sys.argv) == 1:
        sys.argv.append("up")
    try:
        app()
    except ConfigurationError as error:
        Console(stderr=True, highlight=False).print(Text(str(error)), soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
