"""The content encodings of HTTP, for request bodies and results: gzip, deflate, zstd and lz4.

Streaming both ways: neither a body nor a result is ever held whole here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final, Protocol

import lz4.frame
import zstandard

from headrace.embedded.clickhouse.exceptions import Code, refused

# A piece of a decompressed body: a small hostile body must not grow into gigabytes in one step.
_PIECE_BYTES_MAX: Final = 1 << 20
_ZSTD_INPUT_BYTES: Final = 1 << 10
_PREFERRED: Final = ("zstd", "lz4", "gzip", "deflate")


class Encoder(Protocol):
    """A streaming compressor, as zlib and zstandard have it."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Lz4Encoder:
    """lz4.frame's compressor in the shape of the others: it wants `begin` before the first byte."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def compress(self, data: bytes, /) -> bytes:
        head: bytes = b"" if self._begun else self._frame.begin()
        self._begun = True
        body: bytes = self._frame.compress(data)
        return head + body

    def flush(self) -> bytes:
        head: bytes = b"" if self._begun else self._frame.begin()
        tail: bytes = self._frame.flush()
        return head + tail


def choose(accept_encoding: str) -> str:
    """The encoding to answer with, or an empty string. Quality values other than `q=0` are not weighed."""
    offered = {}
    for entry in accept_encoding.lower().split(","):
        name, _, quality = entry.strip().partition(";")
        offered[name.strip()] = quality.replace(" ", "") not in ("q=0", "q=0.0")
    return next((name for name in _PREFERRED if offered.get(name)), "")


def encoder(encoding: str, level: int) -> Encoder:
    """A compressor for one result. `level` is ClickHouse's `http_zlib_compression_level`."""
    if encoding == "zstd":
        compressor: Encoder = zstandard.ZstdCompressor(level=min(max(level, 1), 22)).compressobj()
        return compressor
    if encoding == "lz4":
        return _Lz4Encoder()
    return zlib.compressobj(min(max(level, 0), 9), zlib.DEFLATED, 31 if encoding == "gzip" else 15)


class Decoder:
    """Undoes the Content-Encoding of one request body, in pieces of at most 1 MiB (zstd: 32 MiB)."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._inner: Any = None
        if encoding in ("gzip", "deflate"):
            self._inner = zlib.decompressobj(47)
        elif encoding == "zstd":
            self._inner = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        elif encoding == "lz4":
            self._inner = lz4.frame.LZ4FrameDecompressor()
        elif encoding not in ("", "identity"):
            raise refused(Code.UNKNOWN_COMPRESSION_METHOD, f"Unknown compression method '{encoding}'")

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """The decompressed pieces of the next part of the body."""
        if self._inner is None:
            yield data
            return
        try:
            yield from self._decompress(data)
        except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError) as error:
            message = f"Cannot decompress the {self._encoding} body: {error}"
            raise refused(Code.CANNOT_DECOMPRESS, message) from error

    def _decompress(self, data: bytes) -> Iterator[bytes]:
        if self._encoding == "zstd":
            # zstandard cannot bound the output of a step, so its input is bounded: four bytes may become 128 KiB.
            for start in range(0, len(data), _ZSTD_INPUT_BYTES):
                yield self._inner.decompress(data[start : start + _ZSTD_INPUT_BYTES])
        elif self._encoding == "lz4":
            yield self._inner.decompress(data, max_length=_PIECE_BYTES_MAX)
            while not (self._inner.needs_input or self._inner.eof):
                yield self._inner.decompress(b"", max_length=_PIECE_BYTES_MAX)
        else:
            yield self._inner.decompress(data, _PIECE_BYTES_MAX)
            while self._inner.unconsumed_tail:
                yield self._inner.decompress(self._inner.unconsumed_tail, _PIECE_BYTES_MAX)

    def check_complete(self) -> None:
        """Refuse a compressed body that ended in its middle: its rows must not be taken for all rows."""
        if self._inner is not None and not self._inner.eof:
            message = f"The {self._encoding} body ends before its compressed stream does"
            raise refused(Code.CANNOT_DECOMPRESS, message)
