"""Streaming SQL: the language of read models, compiled to ClickHouse SQL. Text in, text out.

    CREATE STREAM workouts_view AS SELECT user_id, distance_km, logged_at FROM WorkoutLogged;
    CREATE TABLE km_per_user AS SELECT user_id, SUM(distance_km) AS km FROM workouts_view GROUP BY user_id;

The way of a statement, one module each:

    script       the text, places in it, and errors that point at them
    lexer        text → tokens
    cursor       the parsers' view of the tokens: where we are, what may come next
    expressions  tokens → expression (Pratt), with ClickHouse's operators and precedences
    parser       tokens → statements; `unsupported` holds the refusals of what other dialects have
    ast          what the parsers make: frozen nodes, equal when they mean the same text
    printer      ast → text, canonical (for people and fingerprints) or explicit (for ClickHouse)
    functions    which calls aggregate, and which may not stand in a read model
    definition   a checked CREATE statement, with the fingerprint that tells whether it changed
    grouping     a CREATE TABLE split into keys, partial aggregates, and columns over both
    dependencies the order in which definitions are built and advanced; what a mirrored table's readers may say
    retraction   how aggregates over rows that change are kept, so that a row can be taken back
    slice        which rows of the source a statement reads
    names        the names of everything generated
    generate     definition → ClickHouse statements (`stream_sql`, `table_sql` and `mirrored_sql` do the work)

A name means the source's column; an alias only where the source has no such column. GROUP BY alone looks at
the aliases first. Rows whose grouping key is NULL form a group, as in ClickHouse.

No module here may do I/O, keep state, or import more of the package than `headrace.errors`.
"""
