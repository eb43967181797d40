"""What the composition's other containers are told does what it should, in the programs of their images' releases."""

import asyncio
import os
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.session import Session  # pyright: ignore[reportMissingTypeStubs]

import s3_servers
from composition import CONTAINER, DEADLINE, moved, part, prepare_secrets, secret_places, services
from deadlines import allow
from servers import DEADLINE as FETCHING
from tallystick.runtime.servers import elasticmq
from tallystick.runtime.servers.local import HOST, free_port
from valkey_servers import valkey_program


def test_the_queue_gives_urls_with_the_host_by_which_it_is_asked(tmp_path: Path) -> None:
    allow(FETCHING)
    port = free_port()
    queue = asyncio.run(elasticmq.prepare(tmp_path, port, print))
    ours = tmp_path / "elasticmq.conf"
    ours.write_text(moved((CONTAINER / ours.name).read_text(), {"9324": str(port), "0.0.0.0": HOST}))  # noqa: S104  (the container's)
    command = [each if "config.file" not in each else f"-Dconfig.file={ours}" for each in queue.command]
    with part(command, queue.environment, port, tmp_path / "log"):
        for host in (HOST, "localhost"):
            headers = {"x-amz-target": "AmazonSQS.CreateQueue", "content-type": "application/x-amz-json-1.0"}
            jobs = {"QueueName": "jobs.fifo", "Attributes": {"FifoQueue": "true"}}
            made = httpx.post(f"http://{host}:{port}", headers=headers, json=jobs, timeout=DEADLINE)
            assert made.json()["QueueUrl"].startswith(f"http://{host}:{port}/")


def test_the_object_store_has_our_bucket_and_lets_nobody_else_in(tmp_path: Path) -> None:
    allow(FETCHING)
    port = free_port()
    store = asyncio.run(s3_servers.prepare(tmp_path, port, print))
    if store.name != "versitygw":
        pytest.skip("versitygw cannot be built here: it takes Go")
    secrets = prepare_secrets(tmp_path)
    places = {"/objects\n": f"{tmp_path}/objects\n", "/objects/": f"{tmp_path}/objects/"}
    places |= {"/metadata": f"{tmp_path}/metadata", ":7070": f"{HOST}:{port}", **secret_places(secrets)}
    program = Path(store.command[0])
    environment = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    command = ["sh", "-c", moved((CONTAINER / "objects.sh").read_text(), places)]
    health = services()["objects"]["healthcheck"]["test"][-1].replace(":7070", f":{port}")
    with part(command, environment, port, tmp_path / "log"):
        assert httpx.get(health, timeout=DEADLINE).is_success
        session: Any = Session(profile="default")  # the file of secrets, whatever the environment names
        session.set_config_variable("credentials_file", str(secrets / "aws_credentials"))
        client = session.create_client("s3", region_name="us-east-1", endpoint_url=store.url)
        with closing(client):
            client.put_object(Bucket="tallystick", Key="exports/1", Body=b"kept")
            assert client.get_object(Bucket="tallystick", Key="exports/1")["Body"].read() == b"kept"
        stranger = httpx.get(f"{store.url}/tallystick/exports/1")
        assert stranger.status_code == 403


def test_counters_are_for_who_knows_the_password_and_leave_when_it_is_full(tmp_path: Path) -> None:
    secrets = prepare_secrets(tmp_path)
    port = free_port()
    password = (secrets / "rates_password").read_text().strip()
    command = [valkey_program(), secrets / "rates.conf", "--bind", HOST, "--port", str(port), "--dir", tmp_path]
    with part(command, {}, port, tmp_path / "log"):
        assert say(port, "PING") == b"-NOAUTH Authentication required.\r\n"
        for command, answer in (("PING", b"+PONG"), ("CONFIG GET maxmemory-policy", b"volatile-ttl")):
            assert answer in say(port, f"AUTH {password}", command)


def say(port: int, *commands: str) -> bytes:
    """Send commands in Valkey's inline form; returns the last one's answer."""
    with socket.create_connection((HOST, port), timeout=DEADLINE) as connection:
        answer = b""
        for command in commands:
            connection.sendall(f"{command}\r\n".encode())
            answer = connection.recv(65_536)
        return answer
