SELECT to_regclass('headrace.snapshots') IS NOT NULL
