"""Every failure over HTTP is one JSON object: error, message, detail, hint."""

from __future__ import annotations

from typing import Any

from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException

from headrace.errors import Error
from headrace.telemetry import logger

log = logger(__name__)


def _known(request: Request[Any, Any, Any], error: Error) -> Response[dict[str, str]]:
    return Response(error.as_dict(), status_code=error.http_status, media_type=MediaType.JSON)


def _framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    body = {
        "error": type(error).__name__,
        "message": error.detail,
        "detail": f"{request.method} {request.url.path}",
        "hint": "GET /schema/openapi.json lists every operation.",
    }
    return Response(body, status_code=error.status_code, media_type=MediaType.JSON, headers=error.headers)


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
    body = {
        "error": "InternalError",
        "message": "The server failed; this is a defect in Headrace or in the domain's code.",
        "detail": type(error).__name__,
        "hint": "The server's log has the trace.",
    }
    return Response(body, status_code=500, media_type=MediaType.JSON)


exception_handlers: dict[int | type[Exception], Any] = {
    Error: _known,
    HTTPException: _framework,
    Exception: _unexpected,
}
