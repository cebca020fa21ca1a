"""STORE: the events, in PostgreSQL. Appends and reads; decides nothing, and knows no domain.

The write-ahead log is the one global order of events: there is no sequence here, no table lock and no NOTIFY.
"""
