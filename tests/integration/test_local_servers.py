"""The servers that stand in for a cloud do what they are there for."""

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic
from uuid import uuid4

import httpx

DEADLINE = 60.0


def test_opensearch_takes_an_index(opensearch_url: str) -> None:
    index = f"{opensearch_url}/test-{uuid4().hex}"
    assert httpx.put(index, timeout=60).json()["acknowledged"]
    assert httpx.put(f"{index}/_doc/1?refresh=true", json={"text": "login"}, timeout=60).status_code == 201
    found = httpx.get(f"{index}/_search?q=text:login", timeout=60).json()
    assert [hit["_id"] for hit in found["hits"]["hits"]] == ["1"]
    assert httpx.delete(index, timeout=60).json()["acknowledged"]


def test_elasticmq_takes_a_fifo_queue(elasticmq_url: str) -> None:
    def call(action: str, **arguments: object) -> httpx.Response:
        headers = {"x-amz-target": f"AmazonSQS.{action}", "content-type": "application/x-amz-json-1.0"}
        return httpx.post(elasticmq_url, headers=headers, json=arguments, timeout=60)

    made = call("CreateQueue", QueueName=f"test-{uuid4().hex}.fifo", Attributes={"FifoQueue": "true"}).json()
    url = made["QueueUrl"]
    assert url.startswith(elasticmq_url)
    for _ in range(2):  # the second is a duplicate
        sent = call("SendMessage", QueueUrl=url, MessageBody="7:1", MessageGroupId="7", MessageDeduplicationId="7:1")
        assert sent.status_code == 200
    received = call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10).json()
    assert [message["Body"] for message in received["Messages"]] == ["7:1"]
    assert call("DeleteQueue", QueueUrl=url).status_code == 200


_USER = """
import sys
from pathlib import Path
from servers import shared_server
with shared_server("elasticmq", Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


def test_a_shared_server_ends_with_the_last_who_uses_it(tmp_path: Path) -> None:
    users: list[subprocess.Popen[str]] = []
    urls: list[str] = []
    for _ in range(2):
        users.append(
            subprocess.Popen(
                [sys.executable, "-c", _USER, str(tmp_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            )
        )
        stdout = users[-1].stdout
        assert stdout is not None
        urls.append(stdout.readline().strip())
    assert urls[0] == urls[1]
    users[0].kill()
    users[0].communicate()
    assert answers(urls[0])
    users[1].kill()
    users[1].communicate()
    end = monotonic() + DEADLINE
    while answers(urls[0]):
        assert monotonic() < end
    assert not (tmp_path / "elasticmq" / "url").exists()
