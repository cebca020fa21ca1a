-- The first and the last transaction that recorded something in a period. A function for its setting: the block range
-- index on recorded_at can only be used by the kind of scan that a session of the event store has off. By way of bigint,
-- because PostgreSQL 14 has no min of xid8.
CREATE OR REPLACE FUNCTION headrace.find_period(
    period_start timestamptz, period_end timestamptz, OUT first xid8, OUT last xid8
)
LANGUAGE sql STABLE SET enable_bitmapscan = on AS $$
    SELECT min(transaction_id::text::bigint)::text::xid8, max(transaction_id::text::bigint)::text::xid8
    FROM headrace.events
    WHERE recorded_at >= period_start AND recorded_at < period_end
$$;
