"""CQRS for Python: commands into PostgreSQL, answers out of ClickHouse.

These are the names that a project's own files use; everything else is reached through the command line and HTTP.
"""

from headrace.commands.decider import decider
from headrace.errors import Rejected, Unavailable
from headrace.events.command import Command
from headrace.events.event import Event, StoredEvent
from headrace.events.personal import JoinablePersonal, Personal
from headrace.events.upcasting import upcaster
from headrace.subscriptions.reactor import Later, reactor

__all__ = [
    "Command",
    "Event",
    "JoinablePersonal",
    "Later",
    "Personal",
    "Rejected",
    "StoredEvent",
    "Unavailable",
    "decider",
    "reactor",
    "upcaster",
]
