"""A bucket with Object Lock takes no object without a checksum: the variable that tasks are given makes us send one."""

import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from cloud_templates import Templates
from tallystick.objects.store import PART_BYTES, Objects
from tallystick.settings import ObjectSettings

CHECKSUM: Final = "x-amz-checksum-sha256"


async def pieces(size: int) -> AsyncGenerator[bytes]:
    """So many bytes."""
    while size > 0:
        yield b"x" * min(size, 1 << 20)
        size -= 1 << 20


def test_tasks_that_write_objects_are_told(templates: Templates) -> None:
    for definition in templates.properties("small", "Service", "AWS::ECS::TaskDefinition"):
        for container in definition["ContainerDefinitions"]:
            told = {each["Name"]: each["Value"] for each in container["Environment"]}
            assert told.get("AWS_CHECKSUM_ALGORITHM") == ("SHA256" if "TALLYSTICK_OBJECTS__URL" in told else None)


@pytest.mark.parametrize("size", [1 << 20, 2 * PART_BYTES], ids=["whole", "parts"])
async def test_an_object_is_sent_with_a_checksum(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if request.method == "PUT":
            uploads.append(request)
            return web.Response(headers={"ETag": '"1"'})
        begun = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        ended = "<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>"
        return web.Response(text=ended if "uploadId" in request.query else begun)

    monkeypatch.setenv("AWS_CHECKSUM_ALGORITHM", "SHA256")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anonymous")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anonymous")
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        settings = ObjectSettings(url="s3://bucket/tallystick", endpoint=f"http://{host}:{port}", path_style=True)
        await Objects.from_settings(settings, tmp_path).put("tenants/acme/leaves/1", pieces(size))
    finally:
        await runner.cleanup()

    assert len(uploads) == max(1, size // PART_BYTES)
    assert all(re.fullmatch(r"[A-Za-z0-9+/]{43}=", upload.headers[CHECKSUM]) for upload in uploads)
