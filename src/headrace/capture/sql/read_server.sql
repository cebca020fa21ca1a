-- What capture needs to know of a server before it reads its log. Managed services grant replication by membership
-- of a role of their own instead of the role attribute.
SELECT
    current_setting('server_version_num')::int AS version,
    current_setting('wal_level') AS wal_level,
    ARRAY(
        SELECT name FROM pg_settings WHERE name IN ('max_wal_senders', 'max_replication_slots') AND setting = '0'
    ) AS switched_off,
    pg_is_in_recovery() AS is_standby,
    (SELECT setting::int FROM pg_settings WHERE name = 'wal_sender_timeout') AS wal_sender_timeout_ms,
    current_database() AS database,
    current_user::text AS role,
    EXISTS (
        SELECT FROM pg_roles
        WHERE (rolname = current_user AND (rolsuper OR rolreplication))
           OR (rolname IN ('rds_replication', 'azure_pg_admin', 'neon_superuser') AND pg_has_role(current_user, oid, 'member'))
    ) AS may_replicate
