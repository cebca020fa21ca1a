"""Health over HTTP: `/healthz` says that the process lives, `/readyz` and `/status` how the system is."""

from __future__ import annotations

from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from headrace.runtime.health import Health, read_health


def health_routes(health: Health) -> list[HTTPRouteHandler]:
    """The three routes. `/readyz` answers 503 while a database is away or the worker has not spoken for long."""

    @get("/healthz", summary="Is the process alive?", tags=["health"], operation_id="healthz", sync_to_thread=False)
    def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @get("/readyz", summary="Can it serve?", tags=["health"], operation_id="readyz")
    async def readyz() -> Response[dict[str, Any]]:
        status = await read_health(health)
        return Response({"ready": status.ready, "problems": status.problems}, status_code=200 if status.ready else 503)

    @get("/status", summary="Positions, lag, read models", tags=["health"], operation_id="status")
    async def status() -> dict[str, Any]:
        return (await read_health(health)).as_dict()

    return [healthz, readyz, status]
