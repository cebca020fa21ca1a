"""The API as one ASGI application, composed from the resources that a role serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar import Litestar, Request
from litestar.exceptions import PermissionDeniedException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from headrace.http.errors import exception_handlers
from headrace.same_origin import foreign

READING = frozenset(("GET", "HEAD", "OPTIONS"))


def create_app(
    *, title: str, version: str, routes: Sequence[Any], body_bytes_max: int, host: str = "127.0.0.1"
) -> Litestar:
    """Bind resources to one application. `GET /schema/openapi.json` describes them all. `host` is where it listens."""

    def refuse_pages(request: Request[Any, Any, Any]) -> None:
        """Nothing for other hosts' names, and no command from another site's page: events can never be deleted."""
        headers = dict(request.headers)
        if request.method in READING:
            headers.pop("origin", None)
        if reason := foreign(headers, listening_on=host):
            raise PermissionDeniedException(detail=f"The request is refused: {reason}.")

    return Litestar(
        route_handlers=list(routes),
        before_request=refuse_pages,
        exception_handlers=exception_handlers,
        request_max_body_size=body_bytes_max,
        openapi_config=OpenAPIConfig(title=title, version=version, render_plugins=[JsonRenderPlugin()]),
        logging_config=None,
        debug=False,
    )
