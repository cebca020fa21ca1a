"""CQRS for Python: commands into PostgreSQL, answers out of ClickHouse."""
