"""Fill: bring a new or rebuilt read model up to the watermark, while new batches keep coming.

It applies slices in batch order, like the loader, until it has caught up; the last step and the change to `ready`
happen between two batches. So a read model never sees a batch twice, nor one out of order.
"""

from __future__ import annotations

from dataclasses import replace

from headrace.read_models.advance import Advance, fail
from headrace.read_models.loader import Loader
from headrace.read_models.model import CannotAdvance, ReadModel
from headrace.streaming_sql.names import changes
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.dead_letters import LOADED, RETRY, read_dead_letters, write_dead_letters
from headrace.warehouse.definitions import READY, write_definition

log = logger(__name__)

SLICE_ROWS_MAX = 500_000
# Catching up between two batches holds them up, so only this little is left for then.
LAST_BATCHES_MAX = 20

_SLICE = """
SELECT maxIf(_batch, rows <= {rows_max:UInt64}), max(rows) FROM (
    SELECT _batch, sum(count()) OVER (ORDER BY _batch) AS rows
    FROM {database:Identifier}.{table:Identifier}
    WHERE _batch > {after:UInt64} AND _batch <= {upto:UInt64}
    GROUP BY _batch
    ORDER BY _batch
)
"""


async def fill(model: ReadModel, *, clickhouse: ClickHouse, source: str, loader: Loader, advance: Advance) -> None:
    """Fill `model` from where it is and make it ready, or failed with the reason. Repeating it goes on.

    Over rows that change it is filled from those that there are, and not from what led to them; its objects are new
    then, and made anew if that is cut off. It stops when it hears that the model is to be built anew.
    """
    try:
        if model.definition.reads != "rows":
            await _catch_up(model, clickhouse=clickhouse, source=source, loader=loader, advance=advance)
        async with loader.lock:
            if model.anew:
                return
            upto = loader.watermark.batch
            if model.definition.reads == "rows":
                model.anew = True
                await advance.fill_current(model, loader.watermark)
                model.anew = False
            else:
                await advance(model, model.stored.applied_batch, upto, verify=True)
            ready = replace(model.stored, applied_batch=upto, state=READY, problem="")
            model.stored = await write_definition(clickhouse, source, ready)
    except CannotAdvance as error:
        await fail(model, clickhouse=clickhouse, source=source, problem=str(error))
    else:
        await _settle_retries(clickhouse, source, model.name)
        log.info("read_model_ready", name=model.name, batch=upto)


async def _catch_up(model: ReadModel, *, clickhouse: ClickHouse, source: str, loader: Loader, advance: Advance) -> None:
    """Apply slices until little is left."""
    mirrored = model.definition.mirrored
    log_table = changes(mirrored) if mirrored else "events"
    verify = True  # an earlier attempt may have been killed in the middle of a slice
    while loader.watermark.batch - model.stored.applied_batch > LAST_BATCHES_MAX:
        upto = await slice_end(
            clickhouse, model.stored.applied_batch, loader.watermark.batch, rows_max=SLICE_ROWS_MAX, table=log_table
        )
        await advance(model, model.stored.applied_batch, upto, verify=verify)
        verify = False
        async with loader.lock:
            if model.anew:
                return
            model.stored = await write_definition(clickhouse, source, replace(model.stored, applied_batch=upto))


async def _settle_retries(clickhouse: ClickHouse, source: str, target: str) -> None:
    """The letters that were to be retried went in: those that failed again are waiting again by now."""
    letters = await read_dead_letters(clickhouse, source, status=RETRY)
    loaded = [replace(letter, status=LOADED) for letter in letters if letter.target == target]
    await write_dead_letters(clickhouse, source, loaded)


async def slice_end(clickhouse: ClickHouse, after: int, upto: int, *, rows_max: int, table: str = "events") -> int:
    """The batch that a slice after `after` goes up to: as many whole batches of `table` as fit, but at least one."""
    parameters = {"database": clickhouse.database, "table": table, "after": after, "upto": upto, "rows_max": rows_max}
    ((end, rows),) = await clickhouse.rows(_SLICE, parameters)
    return upto if rows <= rows_max else max(int(end), after + 1)
