-- The first page of each of many streams, each after a version of its own, in one round trip.
SELECT events.stream, events.version, events.type, events.schema_version, events.data, events.metadata,
       events.recorded_at, events.tags
FROM unnest(%(streams)s::text[], %(after_versions)s::bigint[]) AS wanted (stream, after_version)
CROSS JOIN LATERAL (
    SELECT *
    FROM headrace.events
    WHERE events.stream = wanted.stream AND events.version > wanted.after_version
    ORDER BY events.version
    LIMIT %(rows_max)s
) AS events
