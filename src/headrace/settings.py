"""One frozen settings object, read once and passed in: headrace.toml, then HEADRACE_* variables over it.

A setting exists only where two real users need different values; everything else is a constant beside its use.
`docs/reference/settings.md` lists every one of them, and a test holds it.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from headrace.errors import InvalidConfiguration

DATA = ".headrace"
"""The folder of a project that holds what running it writes."""

_NAME = r"^[a-z][a-z0-9_]{0,39}$"


class Section(BaseModel):
    """A part of the settings: frozen, and strict about names, so that a typing error is found at the start."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Postgres(Section):
    url: str | None = Field(None, description="postgresql:// address, version 14 or later; none: embedded.")
    pool_size: int = Field(8, ge=1, le=200, description="Connections of one API process to PostgreSQL.")


class ClickHouse(Section):
    url: str | None = Field(None, description="http(s)://user:password@host:port of a server; none: embedded.")
    database: str | None = Field(
        None, pattern=_NAME, description="Database of the read models; none: the project's name."
    )
    port: int = Field(
        8123, ge=0, le=65535, description="Port of the embedded ClickHouse on 127.0.0.1; 0: any free one."
    )
    memory_bytes_max: int = Field(2 << 30, ge=256 << 20, description="Memory that embedded queries may use together.")
    password: str | None = Field(
        None, description="Password of the embedded ClickHouse; none: no password, loopback only."
    )


class Http(Section):
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port of the API; 0: any free one.")
    body_bytes_max: int = Field(1 << 20, ge=1024, description="Largest request body of a command.")


class Capture(Section):
    slot: str | None = Field(None, pattern=_NAME, description="Replication slot; none: headrace_<project>.")
    buffer_bytes_max: int = Field(64 << 20, ge=1 << 20, description="Changes held in memory before they are loaded.")
    batch_rows_max: int = Field(65_536, ge=1, description="Rows of one batch; a larger transaction becomes several.")


class Query(Section):
    time_max_s: float = Field(30.0, gt=0, description="Longest time one query may take.")
    rows_max: int = Field(100_000, ge=1, description="Most rows that one query may answer with.")
    memory_bytes_max: int = Field(1 << 30, ge=1 << 20, description="Most memory that one query may use.")
    wait_max_s: float = Field(10.0, gt=0, description="Longest wait for min_position.")


class MirroredTable(Section):
    columns: dict[str, Literal["text", "array", "drop", "hash", "mask", "tokenize"]] = Field(
        {},
        description="How a column is kept where it is not the default: as PostgreSQL's text, or as an array; what of a "
        "personal one is kept.",
    )
    append_only: bool = Field(
        False, description="Its rows are only ever inserted: it needs no key, and what else is done to it is not seen."
    )
    where: str = Field(
        "", description="Which of its rows are mirrored: columns of the key beside constants, for PostgreSQL (15 on)."
    )
    order_by: list[str] = Field([], description="The columns of the key in the order in which rows are sorted.")
    partition_by: str | None = Field(None, description="An expression of ClickHouse over columns of the key.")
    low_cardinality: list[str] = Field([], description="Columns of text with few different values.")
    codecs: dict[str, str] = Field({}, description="How columns are compressed, as ClickHouse's CODEC has it.")

    @property
    def personal(self) -> dict[str, str]:
        """The columns whose values do not leave PostgreSQL, with what is kept of them."""
        return {name: kind for name, kind in self.columns.items() if kind not in ("text", "array")}


class Mirror(Section):
    tables: list[str] = Field([], description='Tables to mirror: "schema.table", where * stands for anything.')
    table: dict[str, MirroredTable] = Field({}, description='Settings of one table: [mirror.table."schema.table"].')
    copy_workers: int = Field(2, ge=1, le=32, description="Ranges of tables that are copied at the same time.")
    copy_bytes_per_s_max: int | None = Field(
        None, ge=1, description="Most that all copies read together; none: no limit."
    )
    verify_every_h: float | None = Field(
        None, gt=0, description="Hours after which the worker compares each table with its source again; none: never."
    )

    slot_warn_bytes: int = Field(
        5 << 30, ge=1 << 20, description="Log that PostgreSQL keeps for the slot at which the worker warns."
    )
    slot_drop_bytes: int | None = Field(
        None,
        ge=1 << 20,
        description="Log kept for the slot at which the worker drops it and stops, to spare the disk; none: never.",
    )

    @field_validator("tables", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """A variable holds one text: names with commas between them."""
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class Settings(Section):
    """Everything a process of one project needs to know. `root` is the project folder."""

    root: Path
    project: str = Field(pattern=_NAME, description="Name of the project; the source of its batches.")
    postgres: Postgres = Postgres()
    clickhouse: ClickHouse = ClickHouse()
    http: Http = Http()
    capture: Capture = Capture()
    query: Query = Query()
    mirror: Mirror = Mirror()

    @property
    def data(self) -> Path:
        """The folder of everything that a running project writes on this machine."""
        return self.root / DATA

    @property
    def database(self) -> str:
        return self.clickhouse.database or self.project

    @property
    def slot(self) -> str:
        return self.capture.slot or f"headrace_{self.project}"

    @classmethod
    def load(cls, root: Path, environ: dict[str, str] | None = None) -> Self:
        """Read `root/headrace.toml` and the environment. Raises InvalidConfiguration, naming file and key."""
        root = root.resolve()
        path = root / "headrace.toml"
        values = _read_toml(path)
        for key, value in (os.environ if environ is None else environ).items():
            if key.startswith("HEADRACE_"):
                _assign(values, key.removeprefix("HEADRACE_").lower().split("__"), value)
        try:
            return cls.model_validate({**values, "root": root})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            unknown = first["type"] == "extra_forbidden"
            raise InvalidConfiguration(
                f"There is no setting {name}." if unknown else f"A setting is wrong: {name}: {first['msg']}.",
                f"In {path} or a HEADRACE_ variable.",
                "docs/reference/settings.md lists every setting.",
            ) from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise InvalidConfiguration(
            f"No project here: {path} does not exist.",
            hint="Run `headrace init NAME` to begin one, or `cd` into a project, or pass --project.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfiguration(f"{path} is not valid TOML.", str(error), "Correct it there.") from error
    except OSError as error:
        raise InvalidConfiguration(
            f"{path} cannot be read.", error.strerror or str(error), "--project takes the project's folder."
        ) from error


def _assign(values: dict[str, Any], path: list[str], value: str) -> None:
    """Put one HEADRACE_SECTION__KEY value where TOML would have put it; an empty value means unset."""
    for part in path[:-1]:
        nested = values.setdefault(part, {})
        if not isinstance(nested, dict):
            raise InvalidConfiguration(
                f"HEADRACE_{'__'.join(path).upper()} names a key inside {part}, which is not a section."
            )
        values = nested
    if value:
        values[path[-1]] = value
