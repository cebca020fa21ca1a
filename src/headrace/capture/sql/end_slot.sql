SELECT pg_terminate_backend(active_pid, 5000), pg_drop_replication_slot(slot_name)
FROM pg_replication_slots
WHERE slot_name = %(slot)s
