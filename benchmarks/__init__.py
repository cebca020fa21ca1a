"""One scenario per file; each prints one JSON object as its last line. `make bench NAME=capture` runs one."""
