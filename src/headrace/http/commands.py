"""Commands over HTTP: `GET /commands`, and `POST /commands/<Name>` or a command's own route.

One handler and one OpenAPI operation per command, made from its class. What is wrong with a request is said here,
before any decider sees it; what happens then is the dispatcher's.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID, uuid5

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, RequestBody, Schema
from litestar.openapi.spec import Parameter as OpenAPIParameter
from litestar.params import FromPath

from headrace.commands.dispatch import Dispatcher
from headrace.commands.domain import Domain
from headrace.errors import InvalidInput, Unknown
from headrace.event_store.append import Appended
from headrace.events.command import Command
from headrace.events.event import Metadata

KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
VERSION_HEADER = "X-Headrace-Expected-Version"
ACTOR_HEADER = "X-Actor"
CORRELATION_HEADER = "X-Correlation-Id"
POSITION_HEADER = "X-Headrace-Position"
HEADER_LENGTH_MAX = 200

# Any fixed one: the same key of the same command is the same command id, in every process and for ever.
_COMMAND_IDS = UUID("6f0b1f0e-5f0a-4a5e-9c39-1d1b6c2f7a10")
_HEADERS = {
    KEY_HEADER: "Any string of up to 200 characters that names this request: sent again, it happens once.",
    VERSION_HEADER: "Carry it out only at this version of its stream; 0 for a stream that must not exist.",
    ACTOR_HEADER: "Who asks; stored beside the events.",
    CORRELATION_HEADER: "What this belongs to; stored beside the events, and answered.",
}


class Answer(msgspec.Struct):
    """What a command answers with: its stream, the stream's version and the global position, and what it decided."""

    stream: str
    version: int
    position: str
    events: tuple[str, ...]


def command_routes(dispatcher: Dispatcher, domain: Domain) -> list[HTTPRouteHandler]:
    """Every route of the domain's commands. An internal one has none."""
    commands = [command for command in domain.commands.values() if not command.internal]
    routes = [_list_route(commands), _unknown_route(domain)]
    return routes + [_command_route(command, dispatcher) for command in commands]


def _list_route(commands: Iterable[type[Command]]) -> HTTPRouteHandler:
    listing = {"commands": [_described(command) for command in commands]}

    @get(
        "/commands", summary="List the commands", tags=["commands"], operation_id="list_commands", sync_to_thread=False
    )
    def list_commands() -> dict[str, Any]:
        return listing

    return list_commands


def _unknown_route(domain: Domain) -> HTTPRouteHandler:
    @post("/commands/{name:str}", include_in_schema=False, sync_to_thread=False)
    def unknown_command(name: FromPath[str]) -> None:
        domain.command(name)
        raise Unknown(f"{name} is internal: reactors give it, and nobody else.", hint="GET /commands lists the others.")

    return unknown_command


def _command_route(command_type: type[Command], dispatcher: Dispatcher) -> HTTPRouteHandler:
    name = command_type.__name__
    decode = _decoder(command_type)
    encode = msgspec.json.Encoder().encode

    @post(
        _paths(command_type),
        operation_class=_operation(command_type),
        operation_id=lambda handler, method, path: "_".join(str(part) for part in path if part),
        tags=["commands"],
        summary=name,
        description=_description(command_type),
    )
    async def handle(request: Request[Any, Any, Any]) -> Response[Any]:
        body = await request.body()
        headers = _Headers.read(request.scope["headers"])
        metadata = headers.metadata(name)
        appended = await dispatcher.dispatch(
            decode(body),
            metadata=metadata,
            expected_version=headers.expected_version,
            # Of the bytes as sent: a default such as the present time makes equal requests into unequal commands.
            fingerprint=_fingerprint(body) if metadata.command_id else 0,
        )
        answer = Answer(appended.stream, appended.version, str(appended.position), appended.types)
        return Response(
            encode(answer),
            status_code=201 if appended.types else 200,
            media_type=MediaType.JSON,
            headers=_answer_headers(appended, headers),
        )

    return handle


def _answer_headers(appended: Appended, headers: _Headers) -> dict[str, str]:
    answered = {POSITION_HEADER: str(appended.position)}
    if appended.duplicate:
        answered[REPLAYED_HEADER] = "true"
    if headers.correlation_id is not None:
        answered[CORRELATION_HEADER] = headers.correlation_id
    return answered


@dataclass(slots=True)
class _Headers:
    """The headers that mean something to a command, read in one pass: this is the hot path."""

    key: str | None = None
    expected_version: int | None = None
    actor: str | None = None
    correlation_id: str | None = None

    @classmethod
    def read(cls, headers: Iterable[tuple[bytes, bytes]]) -> _Headers:
        found = cls()
        for name, value in headers:
            if name == b"idempotency-key":
                found.key = _text(KEY_HEADER, value)
            elif name == b"x-headrace-expected-version":
                found.expected_version = _version(_text(VERSION_HEADER, value))
            elif name == b"x-actor":
                found.actor = _text(ACTOR_HEADER, value)
            elif name == b"x-correlation-id":
                found.correlation_id = _text(CORRELATION_HEADER, value)
        return found

    def metadata(self, command: str) -> Metadata:
        command_id = None if self.key is None else uuid5(_COMMAND_IDS, f"{command}:{self.key}")
        return Metadata(command_id=command_id, command=command, actor=self.actor, correlation_id=self.correlation_id)


def _text(name: str, value: bytes) -> str:
    text = value.decode("latin-1")
    if not 1 <= len(text) <= HEADER_LENGTH_MAX or not text.isprintable():
        raise InvalidInput(
            f"The header {name} is not usable.",
            f"It has {len(text)} characters; 1 to {HEADER_LENGTH_MAX} printable ones are.",
        )
    return text


def _version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidInput(
            f"The header {VERSION_HEADER} is not a version: {text!r}.",
            hint="Send the version that the last command on this stream answered with; 0 for a new stream.",
        )
    return int(text)


def _decoder(command_type: type[Command]) -> Callable[[bytes], Command]:
    """From a request's body to the command. Raises InvalidInput, with the place of what is wrong in it."""
    decode = msgspec.json.Decoder(command_type).decode
    name = command_type.__name__

    def decode_body(body: bytes) -> Command:
        try:
            return decode(body)
        except msgspec.ValidationError as error:
            message, _, place = str(error).partition(" - at `")
            raise InvalidInput(
                f"{name} is not valid at {place.removesuffix('`') or '$'}: {message}.",
                f"Fields: {', '.join(command_type.__struct_encode_fields__)}.",
                f"GET /commands describes {name}.",
            ) from error
        except msgspec.DecodeError as error:
            found = "The body is empty." if not body else f"{error}."
            raise InvalidInput(
                f"{name} needs a JSON object as its body.", found, "Send it as application/json."
            ) from error

    return decode_body


def _fingerprint(body: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(body, digest_size=8).digest(), "big", signed=True)


def _paths(command_type: type[Command]) -> list[str]:
    path = f"/commands/{command_type.__name__}"
    return [path, command_type.route] if command_type.route else [path]


def _description(command_type: type[Command]) -> str:
    return inspect.cleandoc(vars(command_type).get("__doc__") or "")


def _described(command_type: type[Command]) -> dict[str, Any]:
    return {
        "name": command_type.__name__,
        "description": _description(command_type),
        "stream": command_type.stream_template,
        "href": _paths(command_type)[-1],
        "schema": _json_schema(command_type),
        "example": _example(command_type),
    }


def _example(command_type: type[Command]) -> dict[str, Any] | None:
    """The JSON object in the command's docstring, if there is one that the command accepts."""
    text = _description(command_type)
    try:
        value, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
        msgspec.convert(value, command_type)
    except (ValueError, msgspec.ValidationError):
        return None
    return cast("dict[str, Any]", value)


def _json_schema(command_type: type[Command]) -> dict[str, Any]:
    """The command's JSON Schema, in one piece."""
    (schema,), definitions = msgspec.json.schema_components([command_type], ref_template="{name}")
    return {key: value for key, value in _inline(schema, definitions, ()).items() if key != "title"}


def _inline(schema: Any, definitions: dict[str, Any], above: tuple[str, ...]) -> Any:
    """Put every definition in the place of its reference; a type within itself stays open there."""
    if isinstance(schema, list):
        return [_inline(item, definitions, above) for item in schema]
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return {} if reference in above else _inline(definitions[reference], definitions, (*above, reference))
    return {key: _inline(value, definitions, above) for key, value in schema.items()}


def _operation(command_type: type[Command]) -> type[Operation]:
    """An OpenAPI operation with the command's fields, which no signature of the handler shows."""
    example = _example(command_type)
    media = OpenAPIMediaType(schema=_schema(_json_schema(command_type)), **({"example": example} if example else {}))
    body = RequestBody(content={"application/json": media}, required=True, description=_description(command_type))
    parameters = [
        OpenAPIParameter(name, "header", Schema(type=cast("Any", "string")), description)
        for name, description in _HEADERS.items()
    ]

    @dataclass
    class CommandOperation(Operation):
        def __post_init__(self) -> None:
            self.request_body = body
            self.parameters = list(parameters)
            self.responses = _responses()

    return CommandOperation


def _responses() -> dict[str, Any]:
    (answer,), definitions = msgspec.json.schema_components([Answer], ref_template="{name}")
    error = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in ("error", "message", "detail", "hint")},
    }
    accepted = _inline(answer, definitions, ())
    reasons = {
        "201": ("It was accepted, and changed something.", accepted),
        "200": ("It was accepted, and changed nothing.", accepted),
        "400": ("The request is malformed.", error),
        "409": ("The stream is at another version.", error),
        "413": ("The request is too large.", error),
        "422": ("The domain refused it.", error),
        "503": ("PostgreSQL is not ready.", error),
    }
    return {
        status: OpenAPIResponse(reason, content={"application/json": OpenAPIMediaType(schema=_schema(schema))})
        for status, (reason, schema) in reasons.items()
    }


def _schema(json_schema: dict[str, Any]) -> Schema:
    """Litestar writes a dict as it stands, which is what a JSON Schema needs; its own type says otherwise."""
    return cast("Schema", json_schema)
