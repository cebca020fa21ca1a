DELETE FROM headrace.snapshots WHERE stream = ANY (%(streams)s::text[]) RETURNING stream
