"""What is remembered of limits before an act: until the group is judged anew, and through a checkpoint."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.limits_before import Before

SLOTS = st.integers(0, 5)
GROUPS = st.integers(0, 2)
MOVES = st.one_of(
    st.tuples(st.just("remember"), SLOTS, GROUPS, st.integers(0, 3), st.floats(1, 9)),
    st.tuples(st.just("judged"), st.lists(SLOTS, max_size=4), GROUPS),
    st.tuples(st.just("saved")),
)


@given(st.lists(MOVES, max_size=30))
def test_it_is_what_one_would_write_down(moves):
    before, plain = Before(), {}
    for what, *rest in moves:
        if what == "remember":
            slot, group, limit, value = rest
            before.remember(slot, group, limit, (value, "défaut"))
            plain.setdefault((slot, group, limit), (value, "défaut"))
        elif what == "judged":
            slots, group = rest
            before.judged(group, np.array(slots, np.int32))
            plain = {place: was for place, was in plain.items() if place[0] not in slots or place[1] != group}
        else:
            other = Before()
            other.restore(before.snapshot())
            before = other
        assert bool(before) == bool(plain)
        for slot in range(6):
            for group in range(3):
                mine = {q: was for (s, g, q), was in plain.items() if (s, g) == (slot, group)}
                assert before.of(slot, group) == mine
