"""The proof of a run, read from canned answers."""

import orjson

from canned_answers import serving
from tallystick.bench.scenarios.ledger import Ledger
from tallystick.bench.scenarios.readback import prove
from tallystick.bench.scenarios.target import Target


async def test_a_run_of_which_nothing_was_acknowledged_proves_nothing() -> None:
    body = orjson.dumps({"items": []})
    ledger = Ledger("run", 0)
    ledger.issue(3)
    async with serving(lambda _: b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)) as url:
        target = Target(url, {"acme": "token"}, None, makes_tenants=False)
        stored, _ = await prove(target, {"acme": 0}, [ledger], lambda _: None)
    assert not stored.passed
    assert not stored.target
    assert stored.detail.startswith("0 acknowledged")
