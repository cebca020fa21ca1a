"""STAGE: a command becomes events, or is refused.

Reads: the events of the command's stream; of any stream, to look back on its states.
Writes: the event store, and nothing else: capture brings events to ClickHouse, so there is no second write to lose.
Guarantees: a decision is appended only at the version it was made on; a command that names itself happens once.
Resumes from: nothing; all state is in the event store, and what is remembered here may be forgotten at any time.
"""
