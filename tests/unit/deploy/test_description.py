"""A cluster's description is kept true, and a disk that is full costs no more than that."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

from picture.description import Bulletin, Picture, picture_file
from tallystick.runtime.site import Floors, Site
from tallystick.runtime.state import StateDirectory
from tallystick.settings import Settings

PICTURE = Picture(
    url="https://127.0.0.1:8443",
    http_url="http://127.0.0.1:8080",
    authority_file="authority.pem",
    token_file="admin.jwt",
    balancer_url="http://127.0.0.1:9",
    admin_socket="admin.sock",
    api_urls={},
    worker_urls={},
    release="/old",
)


async def test_a_description_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    state = StateDirectory.from_settings(Settings(home=tmp_path))
    said: list[str] = []
    with ExitStack() as at_end:
        bulletin = Bulletin(Site(state, Floors(), 0, asyncio.Event(), at_end), said.append)
        bulletin.publish(PICTURE)
        picture_file(state).unlink()
        picture_file(state).mkdir()
        bulletin.report("a process died: starting it again")
        bulletin.released(Path("/new"))
        picture_file(state).rmdir()
        bulletin.report("it runs again")
        assert '"release": "/new"' in picture_file(state).read_text()
    assert said[0] == "a process died: starting it again"
    assert not picture_file(state).exists()
