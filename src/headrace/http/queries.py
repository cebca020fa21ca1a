"""Queries over HTTP: `GET /queries`, `GET /queries/<name>` and `GET /queries/<name>/live`.

One handler and one OpenAPI operation per query, made from its file. SQL never comes in over HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, Schema
from litestar.openapi.spec import Parameter as OpenAPIParameter
from litestar.params import FromPath
from litestar.response import Stream

from headrace.errors import InvalidInput
from headrace.events.position import START, Position
from headrace.queries.answer import age
from headrace.queries.catalog import RESERVED, Catalog, Query
from headrace.queries.execute import Executor
from headrace.queries.formats import FORMATS, JSON, Format, format_named
from headrace.queries.live import LiveClients, events
from headrace.queries.parameter_type import JsonSchema
from headrace.queries.parameters import Parameter, Values, bind
from headrace.warehouse.watermark import Watermark

QUERY_FIELDS_MAX = 10_000
MIN_POSITION_HEADER = "X-Headrace-Min-Position"
SSE_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
EVENT_STREAM = "text/event-stream"


class NotAcceptable(InvalidInput):
    """The Accept header names no format that an answer can have."""

    http_status = 406


def query_routes(*, catalog: Catalog, executor: Executor, clients: LiveClients) -> list[HTTPRouteHandler]:
    """Every route of the catalog. `clients.close()` ends the live ones; call it before the server waits for them."""
    routes = [_list_route(catalog), _unknown_route(catalog)]
    for query in catalog:
        routes += [_answer_route(query, executor), _live_route(query, executor, clients)]
    return routes


def sent_values(request: Request[Any, Any, Any]) -> dict[str, list[str]]:
    """The query string by name, every value in order, empty ones kept. Raises InvalidInput for too many."""
    text = request.scope["query_string"].decode("latin-1")
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError as error:
        raise InvalidInput("The request has too many parameters.", f"At most {QUERY_FIELDS_MAX} are read.") from error


def watermark_headers(watermark: Watermark) -> dict[str, str]:
    """What every answer says about how fresh it is; the age is `unknown` before the first batch."""
    age_s = age(watermark)
    return {
        "X-Headrace-Watermark": str(watermark.position),
        "X-Headrace-Age-Seconds": "unknown" if age_s is None else f"{age_s:.3f}",
    }


def event_position(request: Request[Any, Any, Any]) -> Position | None:
    """Where a reconnecting reader of a live feed left off; None when it says nothing that is a position."""
    try:
        return Position.parse(request.headers["Last-Event-ID"])
    except (KeyError, InvalidInput):
        return None


def _list_route(catalog: Catalog) -> HTTPRouteHandler:
    listing = {"queries": [_described(query) for query in catalog]}

    @get("/queries", summary="List the queries", tags=["queries"], operation_id="list_queries", sync_to_thread=False)
    def list_queries() -> dict[str, Any]:
        return listing

    return list_queries


def _unknown_route(catalog: Catalog) -> HTTPRouteHandler:
    @get(["/queries/{name:str}", "/queries/{name:str}/live"], include_in_schema=False, sync_to_thread=False)
    def unknown_query(name: FromPath[str]) -> None:
        catalog.get(name)

    return unknown_query


def _answer_route(query: Query, executor: Executor) -> HTTPRouteHandler:
    @get(
        f"/queries/{query.name}",
        operation_class=_operation(query, live=False),
        operation_id=f"query_{query.name}",
        tags=["queries"],
        summary=query.title,
        description=query.description or None,
    )
    async def answer(request: Request[Any, Any, Any]) -> Response[Any]:
        values = sent_values(request)
        format_ = _format(request, values)
        min_position = _min_position(request, values)
        if format_ is not JSON:
            return await _exported(query, executor, _own(values), format_, min_position)
        said = await executor.answer(query, _own(values), min_position=min_position)
        return Response(said.as_json(), media_type=MediaType.JSON, headers=watermark_headers(said.watermark))

    return answer


async def _exported(
    query: Query, executor: Executor, values: Values, format_: Format, min_position: Position
) -> Response[Any]:
    export = await executor.export(query, values, format=format_, min_position=min_position)
    headers = {
        **watermark_headers(export.watermark),
        "Content-Disposition": f'inline; filename="{query.name}.{format_.extension}"',
    }
    return Stream(export.chunks, media_type=format_.media_type, headers=headers)


def _live_route(query: Query, executor: Executor, clients: LiveClients) -> HTTPRouteHandler:
    @get(
        f"/queries/{query.name}/live",
        operation_class=_operation(query, live=True),
        operation_id=f"query_{query.name}_live",
        tags=["queries"],
        summary=f"{query.title}, live",
        description="Server-sent events: `answer` now and after each change, `failure` when it cannot be answered.",
    )
    async def live(request: Request[Any, Any, Any]) -> Stream:
        values = sent_values(request)
        bind(query.parameters, values, datetime.now(UTC))
        clients.require_room()
        feed = events(executor, query, values, clients=clients, seen=event_position(request))
        return Stream(feed, media_type=EVENT_STREAM, headers=SSE_HEADERS)

    return live


def _own(values: Values) -> Values:
    return {name: sent for name, sent in values.items() if name not in RESERVED}


def _format(request: Request[Any, Any, Any], values: Values) -> Format:
    if named := values.get("format"):
        return format_named(named[-1])
    offered = [format_.media_type for format_ in FORMATS]
    best = request.accept.best_match(offered) if "accept" in request.headers else JSON.media_type
    if best is None:
        raise NotAcceptable(
            "No format of this answer is acceptable.",
            f"Answers come as {', '.join(offered)}.",
            "Or ask with ?format=csv.",
        )
    return FORMATS[offered.index(best)]


def _min_position(request: Request[Any, Any, Any], values: Values) -> Position:
    sent = values.get("min_position")
    text = sent[-1] if sent else request.headers.get(MIN_POSITION_HEADER)
    return Position.parse(text) if text else START


def _described(query: Query) -> dict[str, Any]:
    return {
        "name": query.name,
        "title": query.title,
        "description": query.description,
        "parameters": [
            {
                "name": parameter.name,
                "type": parameter.type.text,
                "required": parameter.required,
                "default": parameter.default,
                "description": parameter.description,
            }
            for parameter in query.parameters
        ],
        "formats": [format_.name for format_ in FORMATS],
        "href": f"/queries/{query.name}",
        "live": f"/queries/{query.name}/live",
    }


def _operation(query: Query, *, live: bool) -> type[Operation]:
    """An OpenAPI operation with the query's own parameters, which no signature of the handler shows."""
    parameters = [_openapi_parameter(parameter) for parameter in query.parameters]
    responses = {"200": _live_response() if live else _answer_response()} | _error_responses()
    own = [] if live else _api_parameters()

    @dataclass
    class QueryOperation(Operation):
        parameters: Any = field(default_factory=lambda: [*parameters, *own])
        responses: Any = field(default_factory=lambda: dict(responses))

        def __post_init__(self) -> None:
            self.parameters = [*parameters, *own]
            self.responses = dict(responses)

    return QueryOperation


def _openapi_parameter(parameter: Parameter) -> OpenAPIParameter:
    return OpenAPIParameter(
        name=parameter.name,
        param_in="query",
        required=parameter.required,
        description=parameter.description or f"{parameter.type.text}: {parameter.type.expected}.",
        schema=_schema(parameter.schema),
    )


def _api_parameters() -> list[OpenAPIParameter]:
    names = [format_.name for format_ in FORMATS]
    position = "Wait until the read side has reached this position, as a command answered it."
    return [
        OpenAPIParameter("format", "query", _schema({"type": "string", "enum": names}), "In place of Accept."),
        OpenAPIParameter("min_position", "query", _schema({"type": "string"}), position),
        OpenAPIParameter(MIN_POSITION_HEADER, "header", _schema({"type": "string"}), position),
    ]


def _answer_response() -> OpenAPIResponse:
    column = {"type": "object", "properties": {"name": {"type": "string"}, "type": {"type": "string"}}}
    envelope: JsonSchema = {
        "type": "object",
        "required": ["data", "columns", "rows", "watermark", "age_s", "elapsed_ms"],
        "properties": {
            "data": {"type": "array", "items": {"type": "object"}},
            "columns": {"type": "array", "items": column},
            "rows": {"type": "integer"},
            "watermark": {"type": "string", "description": "The answer holds everything up to this position."},
            "age_s": {"type": ["number", "null"], "description": "Seconds since the read side declared it."},
            "elapsed_ms": {"type": "number"},
        },
    }
    content = {format_.media_type: OpenAPIMediaType(schema=_schema({"type": "string"})) for format_ in FORMATS}
    content[JSON.media_type] = OpenAPIMediaType(schema=_schema(envelope))
    return OpenAPIResponse(description="The answer.", content=content)


def _live_response() -> OpenAPIResponse:
    return OpenAPIResponse(
        description="The feed.", content={EVENT_STREAM: OpenAPIMediaType(schema=_schema({"type": "string"}))}
    )


def _error_responses() -> dict[str, OpenAPIResponse]:
    fields = ("error", "message", "detail", "hint")
    error = _schema({"type": "object", "properties": {name: {"type": "string"} for name in fields}})
    reasons = {"400": "A parameter is wrong.", "413": "A limit was reached.", "503": "ClickHouse is not ready."}
    return {
        status: OpenAPIResponse(description=reason, content={JSON.media_type: OpenAPIMediaType(schema=error)})
        for status, reason in reasons.items()
    }


_SCHEMA_NAMES = {"anyOf": "any_of", "maxLength": "max_length"}


def _schema(json_schema: JsonSchema) -> Schema:
    """JSON Schema as Litestar's object of the same keys, names spelled its way, nested ones included."""

    def value(key: str, item: Any) -> Any:
        if key == "properties":
            return {name: _schema(property_) for name, property_ in item.items()}
        if key == "anyOf":
            return [_schema(alternative) for alternative in item]
        return _schema(item) if key == "items" else item

    return Schema(**{_SCHEMA_NAMES.get(key, key): value(key, item) for key, item in json_schema.items()})
