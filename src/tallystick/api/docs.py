"""The OpenAPI document and its pages: Swagger UI from a package, no content delivery network, no inline script.

What the page loads has its hash in its name, so whoever has it once never asks again. What has no hash in its name is
asked about before each use.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
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
<link rel="icon" href="docs/{favicon-32x32.png}">
<link rel="stylesheet" href="docs/{swagger-ui.css}">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/{swagger-ui-bundle.js}"></script>
<script src="docs/{start.js}"></script>
</body>
</html>
"""

_START = """SwaggerUIBundle({
  url: "docs/{openapi.json}",
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
_JSON = "application/json"
_HASHED = re.compile(r"(?P<stem>.+)\.[0-9a-f]{32}\.(?P<ending>[a-z]+)")
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    """A file that the page loads; it is the same in every answer of this process."""

    name: str
    content: bytes
    media_type: str
    digest: str

    @classmethod
    def of(cls, name: str, content: bytes, media_type: str) -> "_File":
        return cls(name, content, media_type, _digest(content))

    @property
    def hashed_name(self) -> str:
        stem, _, ending = self.name.rpartition(".")
        return f"{stem}.{self.digest}.{ending}"


@dataclass(frozen=True, slots=True)
class _Site:
    """The page, and by name the files that it loads."""

    page: bytes
    files: Mapping[str, _File]

    @classmethod
    def of(cls, document: bytes) -> "_Site":
        """Read and hash everything, in some 10 ms."""
        shipped = resources.files("fastapi_swagger.resources")
        files = {name: _File.of(name, shipped.joinpath(name).read_bytes(), kind) for name, kind in _ASSETS.items()}
        files["openapi.json"] = _File.of("openapi.json", document, _JSON)
        files["start.js"] = _File.of("start.js", _naming(_START, files), "text/javascript")
        return cls(_naming(_PAGE, files), files)


def _naming(text: str, files: Mapping[str, _File]) -> bytes:
    """A text in which files are named by their hashed names."""
    for name, file in files.items():
        text = text.replace(f"{{{name}}}", file.hashed_name)
    return text.encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def etag_of(content: bytes) -> str:
    """A strong entity tag (RFC 9110 §8.8.3)."""
    return f'"{_digest(content)}"'


def revalidated(
    request: Request, content: bytes, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer what a client may keep but must ask about before each use: 304 when it has it already."""
    tag = etag_of(content)
    common = {"ETag": tag, "Cache-Control": "no-cache", **(headers or {})}
    if has_copy(request, tag):
        return Response(status_code=304, headers=common)
    return Response(content, headers=common, media_type=media_type)


def docs_routes(app: FastAPI) -> APIRouter:
    """The routes of the documentation. Of the assets of Swagger UI nothing is read before somebody looks."""
    router = APIRouter(include_in_schema=False)

    @cache
    def document() -> bytes:
        return orjson.dumps(openapi_document(app))

    @cache
    def site() -> _Site:
        return _Site.of(document())

    @router.get("/openapi.json")
    @performs(PUBLIC)
    async def openapi(request: Request) -> Response:
        # Made once, in some 100 ms, beside the loop: other requests are not to wait for it.
        return revalidated(request, await asyncio.to_thread(document), _JSON)

    @router.get("/docs")
    @performs(PUBLIC)
    async def docs(request: Request) -> Response:
        headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
        page = (await asyncio.to_thread(site)).page
        return revalidated(request, page, "text/html; charset=utf-8", headers)

    @router.get("/docs/{name}")
    @performs(PUBLIC)
    async def asset(request: Request, name: str) -> Response:
        hashed = _HASHED.fullmatch(name)
        plain = name if hashed is None else f"{hashed['stem']}.{hashed['ending']}"
        file = (await asyncio.to_thread(site)).files.get(plain)
        if file is None:
            raise NotFoundError("there is no such file")
        # While an upgrade is rolled, a page of another release asks for its own: ours will do, but is not kept as it.
        kept = {"Cache-Control": _FOR_EVER} if name == file.hashed_name else {}
        return revalidated(request, file.content, file.media_type, kept)

    @router.get("/problems/{slug}")
    @performs(PUBLIC)
    async def problem(slug: str) -> Response:
        known = problem_classes().get(slug)
        if known is None:
            raise NotFoundError("there is no problem by that name")
        text = f"{known.title} ({known.status.value})\n\n{REMEDIES[slug]}\n"
        return Response(text, media_type="text/plain; charset=utf-8")

    return router
