"""The API as one ASGI application, composed from the resources that a role serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from headrace.http.errors import exception_handlers


def create_app(*, title: str, version: str, routes: Sequence[Any], body_bytes_max: int) -> Litestar:
    """Bind resources to one application. `GET /schema/openapi.json` describes them all."""
    return Litestar(
        route_handlers=list(routes),
        exception_handlers=exception_handlers,
        request_max_body_size=body_bytes_max,
        openapi_config=OpenAPIConfig(title=title, version=version, render_plugins=[JsonRenderPlugin()]),
        logging_config=None,
        debug=False,
    )
