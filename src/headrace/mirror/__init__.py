"""STAGE: keep tables of PostgreSQL as tables of ClickHouse, row for row and value for value.

Reads: the bus (batches of changes, in commit order), and the tables themselves while they are first copied.
Writes: the warehouse: rows, change streams and dead letters of mirrored tables.
Guarantees: at its watermark a mirrored table equals its source; a value that its column cannot hold exactly makes its
    row a dead letter and is never changed to fit.
Resumes from: the last plan in `headrace.batches` and the watermark, like the read models; a copy from its ranges.
"""
