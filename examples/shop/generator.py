"""A shop that sells: `python generator.py --url postgresql://… --seconds 60 --rate 50 --seed 1 --migrate`.

It knows PostgreSQL and nothing of what reads it. The same seed gives the same actions in the same order; a run goes on
with what an earlier one left.
"""

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from random import Random
from threading import Event

import psycopg

from actions import ACTIONS, Action, Shop
from migrations import FORWARD, Migrations, read_schema

FOLDER = Path(__file__).parent
REPORT_EVERY_S = 2.0
MIGRATE_EVERY_MAX_S = 10.0


@dataclass
class Summary:
    """What a run did, by the names of the actions: `done`, `rolled_back`, and `idle`, where there was nothing to do."""

    seconds: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    rolled_back: Counter[str] = field(default_factory=Counter)
    idle: Counter[str] = field(default_factory=Counter)
    migrations: list[str] = field(default_factory=list)

    @property
    def transactions(self) -> int:
        return self.done.total() + self.rolled_back.total() + self.idle.total()

    def __str__(self) -> str:
        rows = [f"{'action':<34}{'done':>8}{'undone':>8}{'idle':>8}"]
        rows += [
            f"{action.__name__:<34}" + "".join(f"{counts[action.__name__]:>8}" for counts in self._counts())
            for action in ACTIONS
        ]
        rows += [f"migrated: {name}" for name in self.migrations]
        rate = self.transactions / self.seconds if self.seconds else 0.0
        return "\n".join([*rows, f"{self.transactions} transactions in {self.seconds:.1f} s: {rate:.0f}/s"])

    def _counts(self) -> tuple[Counter[str], Counter[str], Counter[str]]:
        return self.done, self.rolled_back, self.idle


def sequence(seed: int) -> Iterator[Action]:
    """The actions of a run in their order, without end."""
    random = Random(seed)
    actions, weights = list(ACTIONS), list(ACTIONS.values())
    while True:
        yield random.choices(actions, weights)[0]


def prepare(connection: psycopg.Connection, seed: int) -> bool:
    """Make the schema and its history where there is none, and this month's partitions. Whether it was made."""
    with connection.transaction():
        made = connection.execute("SELECT to_regnamespace('shop') IS NULL").fetchone() == (True,)
        if made:
            connection.execute((FOLDER / "schema.sql").read_text())
            connection.execute("SELECT setseed(%s)", (Random(seed).random(),))
            connection.execute((FOLDER / "history.sql").read_text())
        else:
            connection.execute("CALL shop.open_months()")
    return made


def generate(
    url: str,
    *,
    seconds: float = 60.0,
    rate: float = 50.0,
    seed: int = 1,
    migrate: bool = False,
    transactions: int = 0,
    stop: Event | None = None,
    say: Callable[[str], None] = print,
) -> Summary:
    """Sell for `seconds` (0: until stopped), `rate` transactions in a second (0: as many as go); what was done.

    `migrate` changes the schema along the way, all forward steps within `seconds`. `transactions` ends the run after so
    many (0: no such end). `stop` ends it when it is set, between two transactions. `say` gets a line of progress.
    One run at a time: another's changes of the schema would surprise it. Raises psycopg.OperationalError when
    PostgreSQL is away.
    """
    stop = stop or Event()
    with psycopg.connect(url, autocommit=True) as connection:
        say("The shop is made." if prepare(connection, seed) else "The shop is there; going on.")
        run = _Run(connection, seed, say)
        migrate_every_s = _migrate_every_s(seconds) if migrate else inf
        for action in sequence(seed):
            run.report_if_due()
            run.migrate_up_to(run.elapsed_s(seconds or inf), migrate_every_s)
            if stop.is_set() or run.is_over(seconds or inf, transactions or inf):
                break
            run.perform(action)
            if rate:
                stop.wait(max(0.0, run.started + run.summary.transactions / rate - time.monotonic()))
        run.summary.seconds = time.monotonic() - run.started
    return run.summary


def _migrate_every_s(seconds: float) -> float:
    """The forward steps fall within the run, the last of them with some of it left; a long run has more."""
    return min(seconds / (len(FORWARD) + 0.5), MIGRATE_EVERY_MAX_S) if seconds else MIGRATE_EVERY_MAX_S


class _Run:
    """One run: what it works with, and what it has done so far."""

    def __init__(self, connection: psycopg.Connection, seed: int, say: Callable[[str], None]) -> None:
        self.summary = Summary()
        self.started = self._reported = time.monotonic()
        self._shop = Shop(connection, Random(f"what is chosen {seed}"), read_schema(connection))
        self._migrations = Migrations(connection)
        self._say = say

    def elapsed_s(self, at_most: float) -> float:
        return min(time.monotonic() - self.started, at_most)

    def is_over(self, seconds: float, transactions: float) -> bool:
        return self.elapsed_s(seconds) >= seconds or self.summary.transactions >= transactions

    def report_if_due(self) -> None:
        now = time.monotonic()
        if now >= self._reported + REPORT_EVERY_S:
            self._reported = now
            self._say(f"{now - self.started:6.0f} s {self.summary.transactions:>9} transactions")

    def migrate_up_to(self, elapsed_s: float, every_s: float) -> None:
        """Make the steps that are due by then, also those that a slow transaction has delayed."""
        while elapsed_s >= (len(self.summary.migrations) + 1) * every_s:
            migration = self._migrations.step(self._shop.schema)
            self._shop.schema = read_schema(self._shop.connection)
            self.summary.migrations.append(migration.name)
            self._say(f"       migrated: {migration.name}")

    def perform(self, action: Action) -> None:
        counts = self.summary.rolled_back
        with self._shop.connection.transaction():
            counts = self.summary.done if action(self._shop) else self.summary.idle
        counts[action.__name__] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description="A shop that sells, in PostgreSQL.")
    parser.add_argument("--url", required=True, help="postgresql:// address of the database")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long; 0: until Ctrl-C (%(default)s)")
    parser.add_argument("--rate", type=float, default=50.0, help="transactions in a second; 0: no limit (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same order of actions (%(default)s)")
    parser.add_argument("--migrate", action="store_true", help="change the schema along the way")
    options = parser.parse_args()
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        print(generate(**vars(options), stop=stop))
    except psycopg.OperationalError as error:
        print(f"PostgreSQL is away: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
