"""Events with sealed fields, appended as an application's are."""

import os
from typing import Any, cast

import orjson

from doors import Door
from factories import event
from tallystick.log.lanes import Append
from tallystick.log.model import Author, EventFields, form_event
from tallystick.privacy.sealing import JsonValue


async def append_sealed(
    door: Door, tenant_id: str = "acme", value: JsonValue = "4111 1111 1111 1111", **changes: Any
) -> str:
    """Append an event whose ``/metadata/card`` is a sealed value and whose message a sealed text; returns its id."""
    salt = os.urandom(12)
    keys = await door.services.keys.of(tenant_id)
    fields = event(tenant_id=tenant_id, **changes)
    fields["metadata"] = {"card": keys.seal(value, salt, "/metadata/card"), "shop": "Lyon"}
    fields["message"] = keys.seal_text("paid with 4111 1111 1111 1111", salt, "/message")
    tenant = await door.services.directory.find(tenant_id)
    assert tenant is not None
    formed = form_event(
        cast("EventFields", fields), None, tenant_id=tenant_id, author=Author("tallystick", "shop"), salt=salt
    )
    outcome = await door.services.writer.append(Append(tenant.logs["events"], (formed,), lambda _: b""))
    assert outcome.stored[0] is not None
    return outcome.stored[0].id


async def stored_body(door: Door, event_id: str, tenant_id: str = "acme") -> dict[str, Any]:
    """The event as it is answered."""
    answer = await door.client.get(
        f"/api/v1/logs/{event_id}", params={"tenant_id": tenant_id}, headers=door.bearer("admin", platform=True)
    )
    assert answer.status_code == 200, answer.text
    return orjson.loads(answer.content)
