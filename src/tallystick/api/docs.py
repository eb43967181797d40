"""The OpenAPI document and its pages: Swagger UI from a package, no content delivery network, no inline script."""

import asyncio
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources

import orjson
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api.openapi import openapi_document
from tallystick.api.problems import problem_classes
from tallystick.api.remedies import REMEDIES
from tallystick.auth.operations import PUBLIC
from tallystick.auth.routing import performs
from tallystick.errors import NotFoundError
from tallystick.log.entity_tags import has_copy

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tallystick API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  persistAuthorization: false,
  presets: [SwaggerUIBundle.presets.apis],
});
"""

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}


def etag_of(content: bytes) -> str:
    """A strong entity tag (RFC 9110 §8.8.3)."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def revalidated(
    request: Request, content: bytes, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer what a client may keep but must ask about before each use: 304 when it has it already."""
    tag = etag_of(content)
    common = {"ETag": tag, "Cache-Control": "no-cache", **(headers or {})}
    if has_copy(request, tag):
        return Response(status_code=304, headers=common)
    return Response(content, headers=common, media_type=media_type)


@cache
def _asset(name: str) -> bytes:
    return resources.files("fastapi_swagger.resources").joinpath(name).read_bytes()


def docs_routes(app: FastAPI) -> APIRouter:
    """The routes of the documentation. Of the assets of Swagger UI nothing is read before somebody looks."""
    router = APIRouter(include_in_schema=False)

    @cache
    def document() -> bytes:
        return orjson.dumps(openapi_document(app))

    @router.get("/openapi.json")
    @performs(PUBLIC)
    async def openapi(request: Request) -> Response:
        # Made once, in some 100 ms, beside the loop: other requests are not to wait for it.
        return revalidated(request, await asyncio.to_thread(document), "application/json")

    @router.get("/docs")
    @performs(PUBLIC)
    async def docs(request: Request) -> Response:
        headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
        return revalidated(request, _PAGE.encode(), "text/html; charset=utf-8", headers)

    @router.get("/docs/start.js")
    @performs(PUBLIC)
    async def start(request: Request) -> Response:
        return revalidated(request, _START.encode(), "text/javascript")

    @router.get("/docs/{name}")
    @performs(PUBLIC)
    async def asset(request: Request, name: str) -> Response:
        if name not in _ASSETS:
            raise NotFoundError("there is no such file")
        return revalidated(request, await asyncio.to_thread(_asset, name), _ASSETS[name])

    @router.get("/problems/{slug}")
    @performs(PUBLIC)
    async def problem(slug: str) -> Response:
        known = problem_classes().get(slug)
        if known is None:
            raise NotFoundError("there is no problem by that name")
        text = f"{known.title} ({known.status.value})\n\n{REMEDIES[slug]}\n"
        return Response(text, media_type="text/plain; charset=utf-8")

    return router
