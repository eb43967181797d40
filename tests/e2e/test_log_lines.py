"""Nothing that a client sends makes or changes a line of our own logs."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from installations import installation

pytestmark = pytest.mark.slow

FORGED = '{"level":"error","event":"forged"}'
HOSTILE = (
    f"GET /api/v1/logs%0d%0a{FORGED.replace(' ', '')} HTTP/1.1\r\nhost: x\r\n",
    f"GET /healthz?x=%0a{FORGED} HTTP/1.1\r\nhost: x\r\n",
    f"GET /healthz HTTP/1.1\r\nhost: x\r\nuser-agent: a\x1b[31m{FORGED}\r\n",
    f"GET /healthz HTTP/1.1\r\nhost: x\r\nx-request-id: a\x1b[2J{FORGED}\r\n",
    "GET /healthz HTTP/1.1\r\nhost: x\r\nx-request-id: r%0aforged\r\n",
    f"GET /healthz HTTP/1.1\r\nhost: x\r\ntraceparent: 00-{'a' * 32}-{'b' * 16}-01\x1b[31m\r\n",
    f"POST /api/v1/logs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {FORGED}\r\ncontent-length: 0\r\n",
    f"FORGED /\x1b[31m{FORGED} HTTP/1.1\r\nhost: x\r\n",
)


async def test_what_a_client_sends_is_no_line_of_a_log() -> None:
    async with installation() as instance:
        server = urlsplit(instance.run.url)
        answers: list[bytes] = []
        for head in HOSTILE:
            reader, writer = await asyncio.open_connection(server.hostname, server.port)
            writer.write(f"{head}connection: close\r\n\r\n".encode("latin-1"))
            async with asyncio.timeout(20):
                answers.append(await reader.read())
            writer.close()
        lines = [line for log in instance.state.logs.glob("*.log") for line in log.read_bytes().splitlines()]
    assert all(answer.startswith(b"HTTP/1.1 ") for answer in answers)
    assert all(b"\x1b" not in answer for answer in answers)
    served = [json.loads(line) for line in lines if line.startswith(b"{")]
    requests = [each for each in served if each.get("event") == "request"]
    assert [each for each in requests if each["request_id"] == "r%0aforged"]
    assert len(requests) >= 4  # what is no HTTP, as an escape in a header, never becomes a request
    assert not [line for line in lines if b"\x1b" in line]
    assert not [line for line in lines if b"forged" in line.replace(b"r%0aforged", b"")]
