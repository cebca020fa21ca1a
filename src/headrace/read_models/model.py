"""ReadModel: a stream or table as the worker knows it, and all of them in the order in which they advance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headrace.streaming_sql.definition import Definition
from headrace.warehouse.definitions import READY, StoredDefinition


class CannotAdvance(Exception):
    """A read model cannot go on by itself; `str()` says why. The others are not affected."""


@dataclass(slots=True)
class ReadModel:
    """`columns` are those that ClickHouse stores, (name, type).

    `stored.applied_batch` is how far it is while it is filled; a ready one is as far as the watermark. `anew` says that
    its objects are to be made before it is filled.
    """

    definition: Definition
    columns: Sequence[tuple[str, str]]
    stored: StoredDefinition
    anew: bool = False

    @property
    def name(self) -> str:
        return self.definition.name


class ReadModels:
    """Every read model of one source, by name. Only the worker changes it."""

    def __init__(self) -> None:
        self._models: dict[str, ReadModel] = {}

    def __iter__(self) -> Iterator[ReadModel]:
        return iter(self._models.values())

    def get(self, name: str) -> ReadModel | None:
        return self._models.get(name)

    def put(self, model: ReadModel) -> None:
        self._models[model.name] = model

    def remove(self, name: str) -> None:
        self._models.pop(name, None)

    def levels(self, state: str) -> list[list[ReadModel]]:
        """The models in `state`, sources before what reads them; those of one level do not depend on each other."""
        levels: dict[int, list[ReadModel]] = {}
        for model in self:
            if model.stored.state == state:
                levels.setdefault(self._depth(model), []).append(model)
        return [levels[depth] for depth in sorted(levels)]

    def require_source(self, model: ReadModel) -> None:
        """Raises CannotAdvance when `model` reads from one that is not ready: its rows would be missing."""
        source = self.get(model.definition.source)
        if source is not None and source.stored.state != READY:
            raise CannotAdvance(f"{source.name}, which it reads, is {source.stored.state}")

    def downstream(self, name: str) -> list[str]:
        """`name` itself and the names of all that read it, nearest first."""
        reached = [name]
        for upstream in reached:
            reached += [model.name for model in self if model.definition.source == upstream]
        return reached

    def _depth(self, model: ReadModel) -> int:
        source = self.get(model.definition.source)
        return 0 if source is None else 1 + self._depth(source)
