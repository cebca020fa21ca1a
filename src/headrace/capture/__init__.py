"""STAGE: the changes of one PostgreSQL database, out of its write-ahead log, as columns.

Reads: a replication slot of PostgreSQL 14 or later, through the `pgoutput` plugin; what tables are and their rows, page
    by page, for the copies that mirrors begin with.
Writes: nothing but the slot itself, its publications, and how far the slot is confirmed.
Guarantees: every committed change of a published table is handed out once, in commit order, whole transactions
    together unless one is larger than a batch; a lost connection neither repeats nor skips a change.
Resumes from: the position that the read models give it; the slot keeps everything that was not confirmed.
"""
