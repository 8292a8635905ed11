import asyncio
import contextlib
import gzip
import tracemalloc

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.server.body import (
    BadBodyError,
    BadEncodingError,
    NoRoomError,
    Room,
    TooLargeError,
    collect,
    expand,
)

MOST = 100_000


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


async def pieces(*given):
    for each in given:
        yield each


@given(st.binary(max_size=3000), st.integers(0, 3))
def test_what_was_compressed_comes_out(data, more):
    for name, compress in (("gzip", gzip.compress), ("zstd", zstd), ("GZIP ", gzip.compress)):
        several = compress(data) + compress(data) * more
        assert expand(several, name, MOST) == data * (more + 1)
    assert expand(data, "", 0) == expand(data, "identity", 0) == data


@given(st.binary(max_size=200), st.sampled_from(["gzip", "zstd"]))
def test_any_bytes_are_expanded_or_refused(data, name):
    with contextlib.suppress(BadBodyError, TooLargeError):
        assert len(expand(data, name, MOST)) <= MOST


@given(st.binary(min_size=1, max_size=500), st.data())
def test_what_is_cut_short_is_refused(data, draw):
    for name, whole in (("gzip", gzip.compress(data)), ("zstd", zstd(data))):
        cut = draw.draw(st.integers(0, len(whole) - 1))
        with pytest.raises(BadBodyError):
            expand(whole[:cut], name, MOST)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_the_bound_is_on_what_comes_out(name):
    compress = {"gzip": gzip.compress, "zstd": zstd}[name]
    assert len(expand(compress(bytes(MOST)), name, MOST)) == MOST
    for size in (MOST + 1, 100 * MOST):
        with pytest.raises(TooLargeError, match="expands to more than the 100000 bytes"):
            expand(compress(bytes(size)), name, MOST)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_bomb_costs_no_memory(name):
    bomb = {"gzip": gzip.compress, "zstd": zstd}[name](bytes(200 << 20))
    assert len(bomb) < 1 << 20
    pool = pa.default_memory_pool().max_memory() or 0
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            expand(bomb, name, 1 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
    assert (pa.default_memory_pool().max_memory() or 0) - pool < 16 << 20


def test_an_unknown_encoding_names_the_legal_ones():
    with pytest.raises(BadEncodingError, match="legal are identity, gzip, zstd"):
        expand(b"", "br", MOST)


def test_pieces_are_put_together_up_to_a_bound():
    taken = []
    assert asyncio.run(collect(pieces(b"ab", b"", b"c"), 3, taken.append)) == b"abc"
    assert taken == [2, 0, 1]
    with pytest.raises(TooLargeError, match="more than the 2 bytes"):
        asyncio.run(collect(pieces(b"ab", b"c"), 2, taken.append))


def test_what_is_in_memory_is_bounded_in_all_and_by_source():
    room = Room(10, 6)
    with room.part("a") as first:
        first(6)
        with room.part("a") as more, pytest.raises(NoRoomError):
            more(1)
        with room.part("b") as second:
            second(4)
            with pytest.raises(NoRoomError):
                second(1)
        with room.part("c") as third:
            third(4)
    with room.part("a") as again:
        again(6)
    assert not room._used
    assert room._all == 0
