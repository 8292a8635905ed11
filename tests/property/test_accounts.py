"""received = applied + duplicate + late + quarantined, at every moment and for every source."""

from collections import Counter

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from line_cases import DAY, HOUR, START, WEIGHT, Sender, cut, feed, numbered, program, streams

from engine.durable import decoder
from engine.line import Line


@settings(max_examples=25)
@given(streams(most=12), st.integers(1, 9))
def test_accounts_balance_after_every_batch(entries, size):
    of = program()
    line = Line(of)
    sent = Counter()
    refused = Counter()
    using = decoder(of)
    for batch in cut(numbered(entries), range(0, len(entries), size)):
        _, quarantine = using.decode(batch)
        for offset in quarantine.offset.tolist():
            refused[entries[offset][1]] += 1
        feed(line, [batch], using)
        assert line.accounts.balanced
        for _, _, source, body in batch:
            sent[source] += whole_packets(body)
        for source in sent:
            account = line.accounts.of(source)
            # A packet that is cut off is received too: it is in quarantine, and no whole packet.
            known = account.applied + account.duplicate + account.late
            assert known <= sent[source]
            assert sum(account.quarantined.values()) == refused[source]
            assert account.received == known + refused[source]
    total = line.accounts.total
    assert total.balanced
    assert total.received == sum(account.received for account in line.accounts.by_source.values())


def whole_packets(body):
    """How many packets a body has, by the reference decoder; what follows a break is none."""
    unpacker = msgpack.Unpacker(raw=True)
    unpacker.feed(body)
    count = 0
    try:
        for packet in unpacker:
            count += isinstance(packet, list) and len(packet) == 9
    except (msgpack.UnpackException, ValueError):
        pass
    return count


def test_each_is_counted_where_it_belongs():
    sender = Sender()
    good = sender.packet("p0", "scale", START, {WEIGHT: 80})
    heavy = sender.packet("p0", "scale", START, {WEIGHT: 800})
    late = sender.packet("p0", "scale", START - 8 * DAY, {WEIGHT: 80})
    future = sender.packet("p1", "scale", START + HOUR, {WEIGHT: 80})
    line = Line(program())
    feed(
        line,
        [
            numbered([(START, "a", good + good + heavy), (START, "b", late + future), (START, "c", b"\xc1")]),
        ],
    )
    a, b, c = (line.accounts.of(source) for source in "abc")
    assert (a.received, a.applied, a.duplicate, a.late, a.quarantined) == (3, 1, 1, 0, {"IMPLAUSIBLE": 1})
    assert (b.received, b.applied, b.duplicate, b.late, b.quarantined) == (2, 0, 0, 1, {"TIME_IN_FUTURE": 1})
    assert (c.received, c.quarantined) == (1, {"BAD_MSGPACK": 1})
    assert line.accounts.total.received == 6
