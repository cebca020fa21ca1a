"""Writers that carry out a workload's transactions once each, however often PostgreSQL is killed meanwhile."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import errors
from support.mirror_columns import TYPES
from support.mirror_workload import Copy, Table, Transaction, Workload
from support.waiting import DEADLINE_S, until

from headrace.embedded.postgres import binary

PAUSE_S = 0.02
# Beside the tables that are mirrored: which transactions are committed, when the answer to a commit was lost.
_PROGRESS = "CREATE TABLE public.progress (writer int, number int, PRIMARY KEY (writer, number))"
# A random transaction may run into another's rows or keys: the application would give up, and so does the writer.
_REFUSED = (errors.IntegrityError, errors.DeadlockDetected)
_GONE = (psycopg.OperationalError, psycopg.InterfaceError)


@dataclass
class Writer:
    """One connection's transactions. `committed` were, `refused` were not, for reasons of their own."""

    url: str
    number: int = 0
    committed: int = 0
    rolled_back: int = 0
    refused: list[str] = field(default_factory=list)
    history: list[Transaction] = field(default_factory=list)
    _connection: psycopg.AsyncConnection | None = None

    @property
    def done(self) -> int:
        return self.committed + self.rolled_back + len(self.refused)

    async def run(self, transactions: Iterable[Transaction]) -> None:
        try:
            for transaction in transactions:
                await self.carry_out(transaction)
        finally:
            await self.close()

    async def carry_out(self, transaction: Transaction) -> None:
        """Commit the transaction exactly once, or not at all when it is refused."""
        number = self.done
        self.history.append(transaction)
        while True:
            try:
                connection = await self._connected()
                if await self._is_done(connection, number):
                    self.committed += 1
                    return
                await self._attempt(connection, transaction, number)
                return
            except _REFUSED as error:
                assert not transaction.must, transaction
                self.refused.append(str(error))
                return
            except _GONE:
                await self.close()
                await asyncio.sleep(PAUSE_S)

    async def _attempt(self, connection: psycopg.AsyncConnection, transaction: Transaction, number: int) -> None:
        async with connection.transaction(force_rollback=not transaction.commit):
            await connection.execute("INSERT INTO public.progress VALUES (%s, %s)", (self.number, number))
            for step in transaction.steps:
                if isinstance(step, Copy):
                    async with connection.cursor().copy(step.statement.encode()) as copy:
                        await copy.write(step.lines)
                else:
                    await connection.execute(step.encode())
        if transaction.commit:
            self.committed += 1
        else:
            self.rolled_back += 1

    async def _is_done(self, connection: psycopg.AsyncConnection, number: int) -> bool:
        asked = "SELECT FROM public.progress WHERE (writer, number) = (%s, %s)"
        return await (await connection.execute(asked, (self.number, number))).fetchone() is not None

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(self.url, autocommit=True)
        return self._connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def create_tables(url: str, tables: Sequence[Table]) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in (_PROGRESS, TYPES, *(each for table in tables for each in table.create())):
            await connection.execute(statement.encode())


@asynccontextmanager
async def writing(writers: Sequence[tuple[Writer, Workload]], *, pause_s: float = PAUSE_S) -> AsyncIterator[None]:
    """Every writer works for as long as the block runs; at its end each transaction is committed or refused."""
    stopping = asyncio.Event()

    async def write(writer: Writer, workload: Workload) -> None:
        try:
            while not stopping.is_set():
                await writer.carry_out(workload.transaction())
                await asyncio.sleep(pause_s)
        finally:
            await writer.close()

    async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as group:
        for writer, workload in writers:
            group.create_task(write(writer, workload))
        try:
            yield
        finally:
            stopping.set()
            deadline.reschedule(asyncio.get_running_loop().time() + DEADLINE_S)


async def more(writers: Sequence[tuple[Writer, Workload]], count: int) -> None:
    """Wait until `count` more transactions are done."""
    goal = sum(writer.done for writer, _ in writers) + count

    async def reached() -> bool:
        return sum(writer.done for writer, _ in writers) >= goal

    await until(reached)


async def create_pgbench_tables(url: str, scale: int) -> None:
    """pgbench's tables of TPC-B, filled. The one without a key gets REPLICA IDENTITY FULL."""
    await _pgbench("--initialize", "--quiet", f"--scale={scale}", url)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("ALTER TABLE public.pgbench_history REPLICA IDENTITY FULL")


async def run_pgbench(url: str, *, seconds: int, clients: int = 4) -> None:
    """TPC-B as fast as it goes. Ends early, without an error, when PostgreSQL does."""
    await _pgbench(
        "--no-vacuum", f"--client={clients}", "--protocol=prepared", f"--time={seconds}", url, ends_early=True
    )


async def _pgbench(*arguments: str, ends_early: bool = False) -> None:
    # The user's name is that of the event store's schema, which would come before `public`.
    environ = {**os.environ, "PGOPTIONS": "-c search_path=public"}
    process = await asyncio.create_subprocess_exec(
        str(binary("pgbench")),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environ,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    # 2: a client could not go on.
    assert process.returncode == 0 or (ends_early and process.returncode in (1, 2)), output.decode()
