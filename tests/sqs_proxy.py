"""A proxy before a server that speaks SQS: it passes calls on, and does to some of them what a network or AWS does."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

DEADLINE = 30.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that AWS would give instead of doing what was asked."""

    status: int
    code: str


Fault = Callable[[str, dict[str, Any]], Refusal | list[str] | None]
"""Given a call and its body: an answer, or ids of entries that are to fail, or None to pass it on."""


@dataclass
class SqsProxy:
    """The proxy.

    Attributes:
        url: Where it listens.
        calls: What was asked for, in order.
        fault: What it does to calls.
    """

    target: str
    url: str = ""
    calls: list[str] = field(default_factory=list[str])
    fault: Fault = lambda _action, _body: None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one call."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            action = headers["x-amz-target"].removeprefix("AmazonSQS.")
            self.calls.append(action)
            status, answer = await self._answer(action, body)
            content = json.dumps(answer).encode()
            reason = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            kind = "content-type: application/x-amz-json-1.0\r\nconnection: close\r\n"
            writer.write(f"{reason}{kind}content-length: {len(content)}\r\n\r\n".encode() + content)
            await writer.drain()
        finally:
            writer.close()

    async def _answer(self, action: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        fault = self.fault(action, body)
        if isinstance(fault, Refusal):
            return fault.status, {"__type": f"com.amazonaws.sqs#{fault.code}", "message": "as the test says"}
        if fault:
            body["Entries"] = [entry for entry in body["Entries"] if entry["Id"] not in fault]
        headers = {"x-amz-target": f"AmazonSQS.{action}", "content-type": "application/x-amz-json-1.0"}
        async with httpx.AsyncClient(timeout=DEADLINE) as client:
            passed_on = await client.post(self.target, headers=headers, json=body)
        answer: dict[str, Any] = passed_on.json() if passed_on.content else {}
        if fault:
            failed = [{"Id": each, "SenderFault": False, "Code": "InternalError"} for each in fault]
            answer["Failed"] = [*answer.get("Failed", ()), *failed]
        return passed_on.status_code, answer


@asynccontextmanager
async def sqs_proxy(target: str) -> AsyncGenerator[SqsProxy]:
    """A proxy before a server."""
    proxy = SqsProxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
