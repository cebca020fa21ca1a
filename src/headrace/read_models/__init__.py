"""STAGE: load batches into ClickHouse and keep every stream and table equal to its SELECT.

Reads: the bus (batches of changes, in commit order) and `headrace.definitions`.
Writes: the warehouse: event log, streams, tables, dead letters, plans and the watermark.
Guarantees: every change is in the log once, and in every read model that its definition puts it in once.
Resumes from: the last plan in `headrace.batches` and the watermark; what a crash left is verified by content.
"""
