"""Rows on their way from a request's body into the engine, through a file or a named pipe.

The engine reads an insert's rows with `FROM INFILE`, the one path of chDB that streams and reports every error. Short
bodies go through a file, because a pipe that is filled and closed before the engine opens it would be lost; long ones
through a named pipe, where the kernel's buffer is all that is held.

Some formats of the engine pass over bytes with a seek, which a pipe refuses: ArrowStream does, over columns that the
table lacks and over padding. What is inflated cannot be sought, so the engine then reads on instead. Hence a pipe
carries an LZ4 frame, https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md, whose blocks are stored as they are.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from struct import Struct
from typing import Final

# A pipe is used only for bodies longer than its buffer: then the last write can only return after the engine has
# opened the pipe and begun to read.
PIPE_BYTES: Final = 1 << 16
PIPE_COMPRESSION: Final = "lz4"

# Version 1, independent blocks of 64 KiB at most, no checksums; the last byte is the check of the two before it.
_FRAME_HEAD: Final = bytes.fromhex("04224d18 6040 82")
_FRAME_END: Final = bytes(4)
_BLOCK_BYTES_MAX: Final = 1 << 16
_STORED: Final = 1 << 31
_BLOCK_HEAD: Final = Struct("<I")


class Spool:
    """The folder for these files. Its content never outlives the process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        folder.mkdir(mode=0o700, exist_ok=True)
        for stale in folder.iterdir():
            stale.unlink()

    def new_path(self) -> Path:
        self._count += 1
        return self._folder / f"{self._count}"


class Pipe:
    """A named pipe whose writing end is fed by the event loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path, 0o600)
        # The reading end is held so that opening the writing end cannot block, and closed to stop the writer.
        self._reader: int | None = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._writer: int | None = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.write(self._writer, _FRAME_HEAD)

    async def write(self, data: bytes) -> None:
        """Write all of `data`, waiting while the engine is busy. Raises BrokenPipeError once `stop` was called."""
        for begin in range(0, len(data), _BLOCK_BYTES_MAX):
            block = data[begin : begin + _BLOCK_BYTES_MAX]
            await self._write(_BLOCK_HEAD.pack(len(block) | _STORED) + block)

    async def finish(self) -> None:
        """All rows were written: tell the engine so, and end."""
        await self._write(_FRAME_END)
        self.end()

    async def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if self._writer is None:
                raise BrokenPipeError
            try:
                rest = rest[os.write(self._writer, rest) :]
            except BlockingIOError:
                await self._writable(self._writer)

    async def _writable(self, writer: int) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(writer, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(writer)

    def end(self) -> None:
        """Close the writing end. Without `finish` before it, the engine finds its frame cut off."""
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None

    def stop(self) -> None:
        """Free everything. Only after the engine's query has ended: it would take the end for the end of the rows."""
        self.end()
        if self._reader is not None:
            os.close(self._reader)
            self._reader = None
            self.path.unlink(missing_ok=True)
