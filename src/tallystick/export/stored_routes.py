"""`/exports`: large exports, written into the object store by a job and fetched by who asked for them."""

import base64
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.access import Access
from tallystick.auth.gate import Gate
from tallystick.auth.operations import DELETE_EXPORT, FETCH_EXPORT, LIST_EXPORTS, READ_EXPORT, START_EXPORT
from tallystick.auth.recording import record_of
from tallystick.auth.routing import performs
from tallystick.errors import Flaw
from tallystick.export.formats import COMPRESSIONS, FORMATS, file_ending, media_type
from tallystick.export.model import StoredExport
from tallystick.export.parameters import SEVERAL, STORING
from tallystick.export.ranges import range_of
from tallystick.export.response import ExportResponse
from tallystick.export.stored import StoredExports
from tallystick.export.stored_schemas import EXPORT_BODY, EXPORTS, QUEUED, READY, ExportDocument, ExportList
from tallystick.log.entity_tags import OWN_COPY, has_copy
from tallystick.log.entrance import admit, let_in
from tallystick.log.query_string import first, one, page_size, query_of, refuse
from tallystick.log.reader import DEFAULT_LIMIT
from tallystick.log.schemas_read import TENANT_PARAMETER, page_parameters
from tallystick.search.parameters import body_values, flaws_in_body
from tallystick.settings import Settings
from tallystick.tenants.bodies import read_json

_JSON: Final = "application/json"

_LISTING: Final[tuple[dict[str, Any], ...]] = (
    {**TENANT_PARAMETER},
    *page_parameters("exports"),
)

_FETCHING: Final[tuple[dict[str, Any], ...]] = (
    {**TENANT_PARAMETER},
    {
        "name": "Range",
        "in": "header",
        "description": "One range of bytes: to go on where a download broke off.",
        "schema": {"type": "string"},
        "example": "bytes=1048576-",
    },
    {
        "name": "If-Range",
        "in": "header",
        "description": "The `ETag` of what is there already: `Range` holds for that alone.",
        "schema": {"type": "string"},
    },
)

_CONTENT: Final[dict[str, Any]] = {
    name: {"schema": {"type": "string", "format": "binary"}, "example": "the bytes of the file"}
    for name in dict.fromkeys(media_type(form, way) for form in FORMATS.values() for way in COMPRESSIONS.values())
}
_CONTENT_HEADERS: Final[dict[str, Any]] = {
    "ETag": {"description": "The SHA-256 of the whole file, in hex.", "schema": {"type": "string"}},
    "Content-Disposition": {"description": "A name for the file.", "schema": {"type": "string"}},
}

# Not validated by FastAPI, which would answer before anybody asked who is calling.
ExportPath = Annotated[
    str, Path(description="The export's id.", examples=[READY["id"]], json_schema_extra={"maxLength": 36})
]


def stored_routes(service: StoredExports, gate: Gate, settings: Settings) -> APIRouter:
    """The routes of exports in the object store."""
    router = APIRouter(tags=["exports"])

    @router.post(
        "/exports",
        operation_id=START_EXPORT.name,
        summary="Start an export",
        status_code=202,
        response_model=ExportDocument,
        responses={
            202: _example(QUEUED)
            | {"headers": {"Location": {"description": "Path of the export.", "schema": {"type": "string"}}}},
        },
        openapi_extra={
            "requestBody": {"required": True, "content": {_JSON: {"schema": EXPORT_BODY, "examples": EXPORTS}}}
        },
    )
    @performs(START_EXPORT)
    async def start_export(request: Request) -> Response:
        """All events that match, of any number, as a file that a job writes into the object store.

        Takes the filters, `q` and formats of `GET /logs/export`. What the file will hold is settled now: later events
        are not in it, and it shows what the token may see now. Look at the export until it has `succeeded`, then fetch
        `content`: only the principal who asked can do either. There may be so many at a time; beyond, 429.
        """
        principal = await gate.authenticate(request)
        query_of(request)
        body = await read_json(request, settings.api.body_timeout)
        with flaws_in_body():
            values = body_values(body, STORING, SEVERAL)
        access = await admit(gate, request, principal, START_EXPORT, first(values, "tenant_id"), values)
        record = record_of(request)
        await record.begin(access, values)
        with flaws_in_body():
            export = await service.ask(access, values)
        record.tell(job=export.id, last_seq=export.through_seq)
        location = request.url.path.rstrip("/") + f"/{export.id}" + access.elsewhere
        return _answer(_document(request, access, export), 202, {"Location": location})

    @router.get(
        "/exports",
        operation_id=LIST_EXPORTS.name,
        summary="List exports",
        response_model=ExportList,
        responses={200: _example({"items": [READY], "next": None, "prev": None})},
        openapi_extra={"parameters": list(_LISTING)},
    )
    @performs(LIST_EXPORTS)
    async def list_exports(request: Request) -> Response:
        """Your own exports in a tenant, the newest first."""
        access, values = await let_in(gate, request, LIST_EXPORTS, known=[each["name"] for each in _LISTING])
        flaws: list[Flaw] = []
        limit = one(values, "limit", page_size, DEFAULT_LIMIT, flaws)
        refuse(flaws)
        page = await service.page(access, first(values, "cursor"), limit)
        items = [_document(request, access, export) for export in page.exports]
        return _answer(ExportList(items=items, next=page.next, prev=page.prev))

    @router.get(
        "/exports/{export_id}",
        operation_id=READ_EXPORT.name,
        summary="Read an export",
        response_model=ExportDocument,
        responses={200: _example(READY)},
        openapi_extra={"parameters": [{**TENANT_PARAMETER}]},
    )
    @performs(READ_EXPORT)
    async def read_export(request: Request, export_id: ExportPath) -> Response:
        """How far an export is, and where to fetch it. Another principal's is not found."""
        access, _ = await let_in(gate, request, READ_EXPORT, known=("tenant_id",))
        return _answer(_document(request, access, await service.get(access, export_id)))

    @router.get(
        "/exports/{export_id}/content",
        operation_id=FETCH_EXPORT.name,
        summary="Fetch an export",
        response_class=Response,
        responses={
            200: {"headers": dict(_CONTENT_HEADERS), "content": _CONTENT},
            206: {
                "description": "The part that `Range` asks for.",
                "headers": dict(_CONTENT_HEADERS),
                "content": _CONTENT,
            },
            304: {"description": "The copy that `If-None-Match` names is current."},
            409: {"description": "It is not ready, or came to nothing."},
            410: {"description": "It expired or was deleted."},
            416: {"description": "The range lies beyond its end."},
        },
        openapi_extra={"parameters": list(_FETCHING)},
    )
    @performs(FETCH_EXPORT)
    async def fetch_export(request: Request, export_id: ExportPath) -> Response:
        """The file. It is sent to the principal who asked for it, while that may still see as much, until it expires.

        A download that broke off is gone on with by `Range`.
        """
        access, _ = await let_in(gate, request, FETCH_EXPORT, known=("tenant_id",))
        export = await service.get(access, export_id)
        service.check_ready(access, export)
        return await _content(request, service, access, export, settings.api.read_timeout)

    @router.delete(
        "/exports/{export_id}",
        operation_id=DELETE_EXPORT.name,
        summary="Delete an export",
        status_code=204,
        response_class=Response,
        openapi_extra={"parameters": [{**TENANT_PARAMETER}]},
    )
    @performs(DELETE_EXPORT)
    async def delete_export(request: Request, export_id: ExportPath) -> Response:
        """It can be fetched no longer, and is removed from the object store within a minute or so.

        One that is not ready ends. To delete it again changes nothing.
        """
        access, values = await let_in(gate, request, DELETE_EXPORT, known=("tenant_id",))
        await record_of(request).begin(access, values)
        await service.delete(access, export_id)
        return Response(status_code=204)

    return router


async def _content(
    request: Request, service: StoredExports, access: Access, export: StoredExport, patience: float
) -> Response:
    size, digest = export.size or 0, export.sha256 or b""
    tag = f'"{digest.hex()}"'
    asked = export.asked
    form = FORMATS[asked.get("format", ["ndjson"])[0]]
    compression = COMPRESSIONS[asked.get("compression", ["none"])[0]]
    which = "" if export.log == "events" else f"-{export.log}"
    name = f"{access.tenant.id}{which}-{export.through_seq}{file_ending(form, compression)}"
    headers = {
        "ETag": tag,
        **OWN_COPY,
        "Accept-Ranges": "bytes",
        "Repr-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:",
    }
    if has_copy(request, tag):
        return Response(status_code=304, headers=headers)
    wanted = range_of(request.headers.get("range"), size) if _holds(request, tag) else None
    start, end = wanted or (0, size)
    headers |= {
        "Content-Type": media_type(form, compression),
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(end - start),
        **({} if wanted is None else {"Content-Range": f"bytes {start}-{end - 1}/{size}"}),
    }
    with ExitStack() as held:
        held.enter_context(service.downloads.admitted(access.principal.client))
        content = await service.open(export, start, end)
        status = 200 if wanted is None else 206
        record = record_of(request)
        record.go_on()
        response = ExportResponse(content, headers, None, patience, held.pop_all().close, status=status)
        response.on_end(lambda completed, sent: record.end(completed=completed, bytes=sent))
        return response


def _holds(request: Request, tag: str) -> bool:
    """Whether a range is to be heeded: `If-Range`, if it is there, names what is sent (RFC 9110 §13.1.5)."""
    return request.headers.get("if-range", tag) == tag


def _document(request: Request, access: Access, export: StoredExport) -> ExportDocument:
    before, _, _ = request.url.path.partition("/exports")
    return ExportDocument.of(export, f"{before}/exports/{export.id}/content{access.elsewhere}")


def _answer(
    document: ExportDocument | ExportList, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(document.model_dump_json(), status, headers, media_type=_JSON)


def _example(value: object) -> dict[str, Any]:
    return {"content": {_JSON: {"example": value}}}
