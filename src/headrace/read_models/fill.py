"""Fill: bring a new or rebuilt read model up to the watermark, while new batches keep coming.

It applies slices in batch order, like the loader, until it has caught up; the last step and the change to `ready`
happen between two batches. So a read model never sees a batch twice, nor one out of order.
"""

from __future__ import annotations

from dataclasses import replace

from headrace.read_models.advance import Advance, fail
from headrace.read_models.loader import Loader
from headrace.read_models.model import CannotAdvance, ReadModel
from headrace.telemetry import logger
from headrace.warehouse.client import ClickHouse
from headrace.warehouse.dead_letters import LOADED, RETRY, read_dead_letters, write_dead_letters
from headrace.warehouse.definitions import READY, write_definition

log = logger(__name__)

SLICE_ROWS_MAX = 500_000
# Catching up between two batches holds them up, so only this little is left for then.
LAST_BATCHES_MAX = 20

_SLICE = """
SELECT max(_batch) FROM (
    SELECT _batch, sum(count()) OVER (ORDER BY _batch) AS rows
    FROM {database:Identifier}.events
    WHERE _batch > {after:UInt64} AND _batch <= {upto:UInt64}
    GROUP BY _batch
    ORDER BY _batch
)
WHERE rows <= {rows_max:UInt64}
"""


async def fill(model: ReadModel, *, clickhouse: ClickHouse, source: str, loader: Loader, advance: Advance) -> None:
    """Fill `model` from where it is and make it ready, or failed with the reason. Repeating it goes on."""
    verify = True  # an earlier attempt may have been killed in the middle of a slice
    try:
        while loader.watermark.batch - model.stored.applied_batch > LAST_BATCHES_MAX:
            upto = await slice_end(
                clickhouse, model.stored.applied_batch, loader.watermark.batch, rows_max=SLICE_ROWS_MAX
            )
            await advance(model, model.stored.applied_batch, upto, verify=verify)
            verify = False
            model.stored = await write_definition(clickhouse, source, replace(model.stored, applied_batch=upto))
        async with loader.lock:
            upto = loader.watermark.batch
            await advance(model, model.stored.applied_batch, upto, verify=True)
            ready = replace(model.stored, applied_batch=upto, state=READY, problem="")
            model.stored = await write_definition(clickhouse, source, ready)
    except CannotAdvance as error:
        await fail(model, clickhouse=clickhouse, source=source, problem=str(error))
    else:
        await _settle_retries(clickhouse, source, model.name)
        log.info("read_model_ready", name=model.name, batch=upto)


async def _settle_retries(clickhouse: ClickHouse, source: str, target: str) -> None:
    """The letters that were to be retried went in: those that failed again are waiting again by now."""
    letters = await read_dead_letters(clickhouse, source, status=RETRY)
    loaded = [replace(letter, status=LOADED) for letter in letters if letter.target == target]
    await write_dead_letters(clickhouse, source, loaded)


async def slice_end(clickhouse: ClickHouse, after: int, upto: int, *, rows_max: int) -> int:
    """The batch that a slice after `after` goes up to: as many whole batches as fit, but at least one."""
    parameters = {"database": clickhouse.database, "after": after, "upto": upto, "rows_max": rows_max}
    found = await clickhouse.rows(_SLICE, parameters)
    return max(int(found[0][0]), after + 1)
