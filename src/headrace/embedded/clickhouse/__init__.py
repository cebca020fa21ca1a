"""ClickHouse in a child process: chDB behind ClickHouse's own HTTP interface.

`process` is the parent's side, everything else runs in the child. Clients are never recognised here: whoever speaks
ClickHouse's HTTP interface is served by the same code.
"""
