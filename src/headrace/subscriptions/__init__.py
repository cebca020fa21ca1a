"""STAGE: events become reactions: commands, commands for later, or effects outside.

Reads: the events of the types that a reactor names, in order per key, from its checkpoint.
Writes: commands, through the dispatcher, under ids made from events; scheduled commands; dead letters; checkpoints.
Guarantees: every event is handled at least once or is a dead letter; a command that a reactor gives happens once.
Resumes from: the checkpoint in PostgreSQL, which only ever lies before what is not handled.
"""
