"""STAGE: the changes of one PostgreSQL database, out of its write-ahead log, as columns.

Reads: a replication slot of PostgreSQL 14 or later, through the `pgoutput` plugin.
Writes: nothing but the slot itself, its publication, and how far both are confirmed.
Guarantees: every committed change of a published table is handed out once, in commit order, whole transactions
    together unless one is larger than a batch; a lost connection neither repeats nor skips a change.
Resumes from: the position that the read models give it; the slot keeps everything that was not confirmed.
"""
