"""The inserts of one append-only log, as a typed table: what a column cannot hold is found here. Pure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headrace.bus.batch import Definition, Undecodable
from headrace.capture.column_types import arrow_type, read_values, type_name
from headrace.capture.framing import Ints
from headrace.capture.places import Placed
from headrace.capture.set_aside import set_aside
from headrace.capture.tuples import from_numpy, read_rows


def read_inserts(definition: Definition, placed: Placed, which: Ints) -> tuple[pa.RecordBatch, list[Undecodable]]:
    """The rows of one table, and apart from them those with a value that their column cannot hold. Raises Corrupt."""
    arrays, reasons = [], dict[int, str]()
    images = read_rows(placed.messages.select(which), len(definition.columns), old=False, new=True)
    for column, read in zip(definition.columns, images.new, strict=True):
        values, bad = read_values(read.values, column.oid)
        arrays.append(values)
        for index in bad:
            reasons.setdefault(
                int(index), f"Column {column.name} has a value that no {type_name(column.oid)} can hold here."
            )
        for index in read.missing():
            reasons.setdefault(int(index), f"Column {column.name} came without its value.")
    fields = [pa.field(column.name, arrow_type(column.oid)) for column in definition.columns]
    fields += [pa.field("_lsn", pa.uint64()), pa.field("_ordinal", pa.uint32())]
    arrays += [
        from_numpy(placed.lsns[which].astype(np.uint64), pa.uint64()),
        from_numpy(placed.ordinals[which].astype(np.uint32), pa.uint32()),
    ]
    rows = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
    return set_aside(rows, reasons, definition=definition, placed=placed, which=which)
