"""Queries: one SQL file is one typed endpoint, answered from ClickHouse within limits.

Reads: the tables and views of the read models, and the watermark, in ClickHouse; `queries/*.sql` of the project.
Writes: nothing.
Guarantees: every answer carries a watermark that was true before the query ran, and is stopped at its limits.
Resumes from: nothing; a live feed takes the last watermark that its reader has seen.
"""
