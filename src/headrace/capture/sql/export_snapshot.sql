SELECT pg_export_snapshot() AS name, pg_current_snapshot()::text AS seen
