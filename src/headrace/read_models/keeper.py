"""Keeper: beside the loader, carries out requests and fills read models, one after the other."""

from __future__ import annotations

import asyncio

from headrace.errors import Unavailable
from headrace.read_models.advance import Advance, fail
from headrace.read_models.deploy import Deployer
from headrace.read_models.fill import fill
from headrace.read_models.loader import Loader
from headrace.read_models.mirrored_tables import MirroredTables, NoMirroredTables
from headrace.read_models.model import ReadModel, ReadModels
from headrace.streaming_sql.generate import forget_sql
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.definitions import FAILED, FILLING, READY

log = logger(__name__)

LOOK_EVERY_S = 0.5
# What tables over rows that change keep of rows that are gone is deleted from time to time, not at every turn.
FORGET_EVERY_BATCHES = 1000


class Keeper:
    """Runs until cancelled. Requests change objects between two batches; filling goes on beside them."""

    def __init__(
        self,
        *,
        clickhouse: ClickHouse,
        source: str,
        models: ReadModels,
        loader: Loader,
        advance: Advance,
        deployer: Deployer,
        mirrored: MirroredTables | None = None,
    ) -> None:
        self._clickhouse = clickhouse
        self._source = source
        self._models = models
        self._loader = loader
        self._advance = advance
        self._deployer = deployer
        self._mirrored = mirrored or NoMirroredTables()
        self._forgotten_batch = 0

    async def run(self) -> None:
        interrupted = False
        while True:
            try:
                async with self._loader.lock:
                    if interrupted:  # perhaps while objects were changed
                        await self._deployer.resume()
                    await self._deployer.carry_out_requests()
                interrupted = False
                await self.fill_all()
                if self._loader.watermark.batch >= self._forgotten_batch + FORGET_EVERY_BATCHES:
                    await self.forget()
            except Unavailable as error:
                interrupted = True
                log.warning("read_models_wait", reason=str(error))
            await asyncio.sleep(LOOK_EVERY_S)

    async def fill_all(self) -> None:
        """Fill everything that is not ready yet, sources first. What reads a table waits until that is copied."""
        for level in self._models.levels(FILLING):
            for model in level:
                await self._fill(model)

    async def forget(self) -> None:
        """Delete what tables over rows that change keep of values that no row has any more."""
        upto = self._loader.watermark.batch
        for model in self._models:
            if model.definition.reads == "rows" and model.stored.state == READY:
                sql = forget_sql(model.definition, self._clickhouse.database, model.columns)
                await self._clickhouse.execute(sql, {"upto": upto})
        self._forgotten_batch = upto

    async def _fill(self, model: ReadModel) -> None:
        table = model.definition.mirrored
        if table and not self._mirrored.is_ready(table):
            return
        source = self._models.get(model.definition.source)
        if source is not None and source.stored.state == FAILED:
            problem = f"{source.name}, which it reads, failed"
            await fail(model, clickhouse=self._clickhouse, source=self._source, problem=problem)
            return
        if model.anew:
            async with self._loader.lock:
                await self._deployer.build(model)
        if model.stored.state == FILLING and not model.anew:
            await self._fill_made(model)

    async def _fill_made(self, model: ReadModel) -> None:
        await fill(model, clickhouse=self._clickhouse, source=self._source, loader=self._loader, advance=self._advance)
