"""What is wrong with a request for an export is pointed at, and nothing comes of it."""

from typing import Any

import pytest

from doors import open_door
from tallystick.settings import Settings

EXPORTS = "/api/v1/exports"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"format": "xml"}, "/format"),
        ({"compression": "brotli"}, "/compression"),
        ({"columns": ["id"]}, "/columns"),
        ({"format": "csv", "columns": ["what"]}, "/columns"),
        ({"through_seq": 7}, "/through_seq"),
        ({"through_seq": "7"}, "/through_seq"),
        ({"after_id": "x"}, "/after_id"),
        ({"limit": 10}, "/limit"),
        ({"order": "oldest"}, "/order"),
        ({"severity": ["LOUD"]}, "/severity"),
        ({"q": "("}, "/q"),
    ],
)
async def test_what_is_wrong_is_pointed_at(settings: Settings, body: dict[str, Any], pointer: str) -> None:
    async with open_door(settings) as door:
        await door.make_tenant("acme")
        answer = await door.client.post(EXPORTS, json=body, headers=door.bearer())
        assert answer.status_code == 422, answer.text
        assert [flaw["pointer"] for flaw in answer.json()["errors"]] == [pointer]
        assert (await door.client.get(EXPORTS, headers=door.bearer())).json()["items"] == []


async def test_an_id_that_is_none_is_not_found(settings: Settings) -> None:
    async with open_door(settings) as door:
        await door.make_tenant("acme")
        for export_id in ("x", "3f0c9a52-6f0e-4b7e-9d35-1f1f0e6f7c11"):
            for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
                answer = await door.client.request(method, f"{EXPORTS}/{export_id}{path}", headers=door.bearer())
                assert answer.status_code == 404
