"""STORE: ClickHouse. The only package that talks to it."""
