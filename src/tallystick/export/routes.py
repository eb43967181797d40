"""`GET /logs/export`."""

from contextlib import ExitStack

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tallystick.auth.gate import Gate
from tallystick.auth.operations import EVENTS, Reading
from tallystick.auth.recording import record_of
from tallystick.auth.routing import performs
from tallystick.export.formats import MEDIA_TYPES, coding_of
from tallystick.export.parameters import EXPORTING, SEVERAL, export_query
from tallystick.export.response import ExportResponse
from tallystick.export.schemas import EXPORT_CONTENT, EXPORT_HEADERS, EXPORT_PARAMETERS, THROUGH_HEADER
from tallystick.export.service import ExportService
from tallystick.log.entrance import let_in
from tallystick.search.schemas import DOWN


def export_routes(service: ExportService, gate: Gate, patience: float, of: Reading = EVENTS) -> APIRouter:
    """The route that exports the events of a log.

    Args:
        service: Reads them.
        gate: Lets requests in.
        patience: Seconds in which a client must take 64 KiB.
        of: Of which log.
    """
    router = APIRouter(tags=[of.tag])

    @router.get(
        of.path + "/export",
        operation_id=of.export.name,
        summary="Export events" if of is EVENTS else "Export access events",
        response_class=Response,
        responses={200: {"headers": dict(EXPORT_HEADERS), "content": dict(EXPORT_CONTENT)}, 503: DOWN},
        openapi_extra={"parameters": list(EXPORT_PARAMETERS)},
    )
    @performs(of.export)
    async def export_events(request: Request) -> Response:
        """All events that match, of any number, the oldest first, as one stream.

        Takes the filters and `q` of the listing. Its end is settled when it begins: what arrives meanwhile is not in
        it. With `Accept-Encoding` the body comes compressed by zstd or gzip. A stream that was broken off lacks the end
        that HTTP asks for; NDJSON and CSV can then be gone on with after the last event that arrived whole.
        """
        access, values = await let_in(gate, request, of.export, known=EXPORTING, several=SEVERAL)
        query = export_query(values)
        with ExitStack() as held:
            held.enter_context(service.admitted(access.principal.client))
            export = await service.open(access.log_id, access.narrowing, query)
            coding = coding_of(request.headers.get("accept-encoding", ""))
            headers = {
                "Content-Type": MEDIA_TYPES[query.format],
                "Content-Disposition": f'attachment; filename="{access.tenant.id}-{export.through}.{query.format}"',
                "Vary": "Accept-Encoding",
                THROUGH_HEADER: str(export.through),
                **({} if coding is None else {"Content-Encoding": coding}),
            }
            record = record_of(request)
            record.go_on()
            response = ExportResponse(export, headers, coding, patience, held.pop_all().close)
            response.on_end(
                lambda completed, _: record.end(completed=completed, count=export.events, last_seq=export.through)
            )
            return response

    return router
