"""Streams over HTTP: the state of one at any version or time, its events, and the difference of two states.

A stream may be called anything printable, slashes included, so its name is read from the path as it was sent: `%2F` is
a slash of the name, `/` separates. The routes are four, for OpenAPI; the function behind them is one.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, Schema
from litestar.openapi.spec import Parameter as OpenAPIParameter

from headrace.commands.audit import Entry, entry
from headrace.commands.domain import Domain
from headrace.commands.history import Difference, History, Past, require_stream
from headrace.commands.point import Point, parse_point, parse_time, parse_version
from headrace.errors import InvalidInput, Unknown
from headrace.event_store.event_store import EventStore
from headrace.event_store.read import ALWAYS, Period
from headrace.events.command import check_stream_name
from headrace.http.queries import sent_values

EVENTS_DEFAULT = 100
EVENTS_MAX = 1_000

_STATE = "Which of its states, where deciders keep several of one stream."
_AT = {
    "version": "The state after this event; 0: before the first.",
    "time": "The state at this time.",
    "state": _STATE,
}
_EVENTS = {
    "from": "Recorded at this time or later.",
    "to": "Recorded before this time.",
    "after_version": "Only events after this one.",
    "up_to_version": "Only events up to and with this one.",
    "backwards": "true: newest first.",
    "limit": f"At most so many: {EVENTS_DEFAULT} unless said, at most {EVENTS_MAX:,}.",
}
_DIFF = {"from": "A version or a time.", "to": "A version or a time.", "state": _STATE}
_TEXT = {"type": "string"}


class Events(msgspec.Struct):
    """Events of one stream; fewer than `limit`: there are no more."""

    stream: str
    events: list[Entry]


Values = Mapping[str, str]
View = Callable[[str, Values], Coroutine[Any, Any, msgspec.Struct]]


def stream_routes(store: EventStore, domain: Domain) -> list[HTTPRouteHandler]:
    """Every route below /streams."""
    views = _views(store, History(store=store, domain=domain))
    encode = msgspec.json.Encoder().encode

    async def answer(request: Request[Any, Any, Any]) -> Response[bytes]:
        stream, name = _asked(request)
        allowed, view = views[name]
        return Response(encode(await view(stream, _values(request, allowed))), media_type=MediaType.JSON)

    return [
        get("/streams/{stream:str}", **_documented("stream_at", "A stream's state, now or then", _AT, Past))(answer),
        get("/streams/{stream:str}/events", **_documented("stream_events", "A stream's events", _EVENTS, Events))(
            answer
        ),
        get("/streams/{stream:str}/diff", **_documented("stream_diff", "What changed", _DIFF, Difference))(answer),
        get("/streams/{rest:path}", include_in_schema=False)(answer),
    ]


def _views(store: EventStore, history: History) -> dict[str, tuple[Sequence[str], View]]:
    """By the last part of the path: the parameters it takes, and what answers it."""

    async def at(stream: str, values: Values) -> Past:
        if len(values.keys() & {"version", "time"}) == 2:
            raise InvalidInput("A state is asked for by version or by time, not by both.")
        point: Point | None = None
        if "version" in values:
            point = parse_version(values["version"])
        elif "time" in values:
            point = parse_time(values["time"])
        return await history.at(stream, point, state_type=values.get("state"))

    async def events(stream: str, values: Values) -> Events:
        found = store.read_stream(stream, **_selection(values))
        listed = Events(stream, [entry(stored) async for stored in found])
        if not listed.events:
            await require_stream(store, stream)
        return listed

    async def diff(stream: str, values: Values) -> Difference:
        if missing := [name for name in ("from", "to") if name not in values]:
            raise InvalidInput(f"The parameter {missing[0]} is missing.", "A difference has two ends, from and to.")
        before, after = parse_point(values["from"]), parse_point(values["to"])
        return await history.difference(stream, before, after, state_type=values.get("state"))

    return {"": (tuple(_AT), at), "events": (tuple(_EVENTS), events), "diff": (tuple(_DIFF), diff)}


def _selection(values: Values) -> dict[str, Any]:
    """What EventStore.read_stream is asked for. Raises InvalidInput."""
    limit = parse_version(values.get("limit", str(EVENTS_DEFAULT)))
    if not 1 <= limit <= EVENTS_MAX:
        raise InvalidInput(f"limit is 1 to {EVENTS_MAX:,}, not {limit}.", hint="Read on with after_version.")
    backwards = values.get("backwards", "false")
    if backwards not in ("true", "false"):
        raise InvalidInput(f"backwards is true or false, not {backwards[:40]!r}.")
    return {
        "period": Period(
            parse_time(values["from"]) if "from" in values else ALWAYS.start,
            parse_time(values["to"]) if "to" in values else ALWAYS.end,
        ),
        "after_version": parse_version(values.get("after_version", "0")),
        "up_to_version": parse_version(values["up_to_version"]) if "up_to_version" in values else None,
        "backwards": backwards == "true",
        "limit": limit,
    }


def _asked(request: Request[Any, Any, Any]) -> tuple[str, str]:
    """The stream and the view that the path names. Raises InvalidInput or Unknown."""
    parts = request.scope["raw_path"].decode("latin-1").split("/")[2:]
    stream, view = unquote(parts[0]), "/".join(parts[1:])
    check_stream_name(stream)
    if view not in ("", "events", "diff"):
        raise Unknown(
            f"A stream has no {view[:80]!r}.",
            "It has events and diff.",
            "A slash in the name of a stream is written %2F.",
        )
    return stream, view


def _values(request: Request[Any, Any, Any], allowed: Sequence[str]) -> Values:
    """The parameters that were sent, one value each. Raises InvalidInput."""
    sent = sent_values(request)
    for name, values in sent.items():
        if name not in allowed:
            raise InvalidInput(f"There is no parameter {name[:40]!r} here.", f"There are {', '.join(allowed)}.")
        if len(values) > 1:
            raise InvalidInput(f"{name} was sent {len(values)} times.", hint="Send it once.")
    return {name: values[0] for name, values in sent.items()}


def _documented(
    operation_id: str, summary: str, parameters: Mapping[str, str], answer: type[msgspec.Struct]
) -> dict[str, Any]:
    """How OpenAPI describes a route, whose parameters and answer no signature shows."""
    name = OpenAPIParameter("stream", "path", _schema(_TEXT), "The stream's name; a slash in it is written %2F.", True)
    asked = [OpenAPIParameter(key, "query", _schema(_TEXT), text) for key, text in parameters.items()]

    @dataclass
    class StreamOperation(Operation):
        def __post_init__(self) -> None:
            self.parameters = [name, *asked]
            self.responses = _responses(answer)

    return {
        "operation_class": StreamOperation,
        "operation_id": operation_id,
        "tags": ["streams"],
        "summary": summary,
        "description": answer.__doc__,
    }


def _responses(answer: type[msgspec.Struct]) -> dict[str, Any]:
    error = {"type": "object", "properties": dict.fromkeys(("error", "message", "detail", "hint"), _TEXT)}
    found = {"type": "object", "properties": {name: {} for name in answer.__struct_fields__}}
    reasons = {
        "200": ("It was found.", found),
        "400": ("A parameter is wrong, or the stream has not reached that version.", error),
        "404": ("There is no such stream, or the domain knows no state of it.", error),
        "503": ("PostgreSQL is not ready.", error),
    }
    return {
        status: OpenAPIResponse(reason, content={"application/json": OpenAPIMediaType(schema=_schema(schema))})
        for status, (reason, schema) in reasons.items()
    }


def _schema(json_schema: Mapping[str, Any]) -> Schema:
    """Litestar writes a dict as it stands, which is what a JSON Schema needs; its own type says otherwise."""
    return cast("Schema", json_schema)
