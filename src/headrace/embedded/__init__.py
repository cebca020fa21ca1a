"""PostgreSQL and ClickHouse as supervised child processes that speak their real protocols.

The rest of the package knows addresses only: whatever runs here can be replaced by a URL, and no code path outside
this folder may ask whether a database is embedded.
"""
