"""Content encodings, whole and in pieces."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from headrace.embedded.clickhouse.compression import Decoder, choose, encoder
from headrace.embedded.clickhouse.exceptions import ClickHouseException

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "lz4": lz4.frame.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
ENCODINGS = st.sampled_from(sorted(COMPRESS))


@given(ENCODINGS, st.lists(st.binary(max_size=500)))
def test_what_is_encoded_is_decoded(encoding: str, pieces: list[bytes]) -> None:
    compressor = encoder(encoding, 3)
    encoded = b"".join([*(compressor.compress(piece) for piece in pieces), compressor.flush()])
    decoder = Decoder(encoding)
    decoded = b"".join(part for byte in encoded for part in decoder.pieces(bytes([byte])))
    decoder.check_complete()
    assert decoded == b"".join(pieces)


@pytest.mark.parametrize("encoding", sorted(COMPRESS))
def test_small_body_grows_in_bounded_pieces(encoding: str) -> None:
    body = COMPRESS[encoding](bytes(50 << 20))
    sizes = [len(piece) for piece in Decoder(encoding).pieces(body)]
    assert sum(sizes) == 50 << 20
    assert max(sizes) <= (32 << 20 if encoding == "zstd" else 1 << 20)


@pytest.mark.parametrize("encoding", sorted(COMPRESS))
def test_cut_off_and_damaged_bodies_are_refused(encoding: str) -> None:
    body = COMPRESS[encoding](bytes(range(256)) * 20)
    decoder = Decoder(encoding)
    list(decoder.pieces(body[:-1]))
    with pytest.raises(ClickHouseException):
        decoder.check_complete()
    with pytest.raises(ClickHouseException):
        list(Decoder(encoding).pieces(b"not compressed at all" * 10))


def test_unknown_encodings_are_refused_and_never_chosen() -> None:
    with pytest.raises(ClickHouseException, match="UNKNOWN_COMPRESSION_METHOD"):
        Decoder("br")
    assert choose("br") == ""
    assert choose("gzip, deflate, br, zstd") == "zstd"
    assert choose("gzip;q=0.5, lz4;q=0") == "gzip"
    assert choose("") == ""
