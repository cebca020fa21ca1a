-- Save a state, unless the same code has saved a later one.
INSERT INTO headrace.snapshots (stream, state, fingerprint, version, data)
VALUES (%(stream)s, %(state)s, %(fingerprint)s, %(version)s, %(data)s)
ON CONFLICT (stream, state) DO UPDATE
SET fingerprint = excluded.fingerprint, version = excluded.version, data = excluded.data, recorded_at = now()
WHERE snapshots.fingerprint <> excluded.fingerprint OR snapshots.version < excluded.version
