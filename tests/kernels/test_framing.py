"""Where packets begin: against the msgpack library, and inside the array whatever the bytes."""

import msgpack
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kernels.framing import starts
from kernels.wire import MAX_DEPTH

shallow = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 9), inner, max_size=3),
    max_leaves=8,
)


def found(body, at=0):
    data = np.frombuffer(body, np.uint8)
    begin = np.full(len(body) - at + 1, -1, np.int64)
    count = starts(data, at, len(body), np.empty(MAX_DEPTH, np.int64), begin)
    assert (begin[count + 1 :] == -1).all()
    return begin[: count + 1].tolist()


@given(st.lists(shallow, max_size=6), st.integers(0, 5))
def test_objects_begin_where_the_library_says(objects, before):
    bodies = [msgpack.packb(each) for each in objects]
    ends = np.cumsum([before, *map(len, bodies)]).tolist()
    assert found(bytes(before) + b"".join(bodies), before) == ends


@given(st.lists(shallow, max_size=3), st.binary(max_size=40))
def test_what_is_not_well_formed_ends_it(objects, noise):
    body = b"".join(map(msgpack.packb, objects))
    begins = found(body + b"\xc1" + noise)
    assert begins[-1] == len(body)
    assert len(begins) == len(objects) + 1


@given(st.binary(max_size=80))
def test_any_bytes(body):
    begins = found(body)
    assert begins[0] == 0
    assert begins[-1] <= len(body)
    assert begins == sorted(set(begins))
