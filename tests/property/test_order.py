"""Any order within the bound of lateness and any number of duplicates give the same content of every series.

What is compared is `line_cases.content`: the newest event time of each patient and the readings that rules can see.
The alerts' own state is not compared: rules judge readings as they come, so that a fall after a rise and a rise after a
fall may open and end other alerts. What all orders must agree on is what a rule says at the end, when all is in.
"""

from hypothesis import given, settings
from hypothesis import strategies as st
from line_cases import (
    DAY,
    HOUR,
    ITEM,
    OPTIONS,
    START,
    WEIGHT,
    Sender,
    a_reading,
    content,
    feed,
    numbered,
    program,
    run,
)

from engine.line import Line


@st.composite
def packets(draw, spread):
    """Packets of two patients, their event times within `spread`.

    None of the gateway's own: numbers of four devices of a patient are remembered, and a fifth one's repeats are
    known by their readings only, of which its battery, which no rule uses, has none.
    """
    sender = Sender()
    out = []
    for _ in range(draw(st.integers(1, 25))):
        kind, values = a_reading(draw)
        if kind == "gateway":
            continue
        patient = f"p{draw(st.integers(0, 1))}"
        out.append(sender.packet(patient, kind, START + draw(st.integers(0, spread // HOUR)) * HOUR, values))
    return out or [sender.packet("p0", "scale", START, {WEIGHT: 80})]


def after_all(bodies):
    """What a line says of the patients once it has taken `bodies`: state, and the alerts that a last reading finds.

    The last readings come with all rules at normal, as if a person had closed everything before.
    """
    receipt = START + 8 * DAY
    of = program()
    line = Line(of)
    feed(line, [numbered([(receipt, "gateway", body)]) for body in bodies])
    for shard in line.shards:
        for name in ("phase", "level", "latched", "onset"):
            shard.state.arrays[name][:] = 0
    state = content(line)
    sender = Sender()
    last = b"".join(
        sender.packet(f"p{p}", f"last-{kind}", receipt, values)
        for p in range(2)
        for kind, values in (("scale", {WEIGHT: 83.0}), ("phone", {ITEM: 1}), ("cuff", {2: 74, 3: 50}))
    )
    alerts = feed(line, [[(0, receipt, "gateway", last)]])
    return state, alerts.drop("alert_id", "onset_ms")


@settings(max_examples=40)
@given(packets(OPTIONS.lateness_ms), st.randoms(use_true_random=False), st.data())
def test_order_and_duplicates(bodies, rng, data):
    again = data.draw(st.lists(st.sampled_from(bodies), max_size=8))
    other = bodies + again
    rng.shuffle(other)
    state, alerts = after_all(bodies)
    shuffled, other_alerts = after_all(other)
    assert shuffled == state
    assert other_alerts.equals(alerts)


@settings(max_examples=30)
@given(packets(3 * DAY), st.data())
def test_duplicates_change_nothing_at_all(bodies, data):
    """Repeated at once or later, in the same body or another: the same alerts, and each repeat is counted."""
    of = program()
    receipt = START + 4 * DAY
    entries = [(receipt + k, "gateway", body) for k, body in enumerate(bodies)]
    repeats = data.draw(st.lists(st.integers(0, len(bodies) - 1), max_size=10))
    doubled = [*entries]
    for k in repeats:
        at = data.draw(st.integers(doubled.index(entries[k]) + 1, len(doubled)))
        doubled.insert(at, (doubled[at - 1][0], "again", bodies[k]))
    alerts, line = run(of, entries)
    more, other = run(of, doubled)
    assert more.drop("offset").equals(alerts.drop("offset"))
    assert content(other) == content(line)
    ours, theirs = line.accounts.total, other.accounts.total
    assert theirs.applied == ours.applied
    assert theirs.duplicate == ours.duplicate + len(repeats)


def test_what_is_later_than_the_bound_is_counted_and_does_nothing():
    sender = Sender()
    new = sender.packet("p0", "scale", START, {WEIGHT: 80})
    bound = sender.packet("p0", "scale", START - OPTIONS.lateness_ms, {WEIGHT: 70})
    late = sender.packet("p0", "scale", START - OPTIONS.lateness_ms - 1, {WEIGHT: 60})
    other = sender.packet("p1", "scale", START - 30 * DAY, {WEIGHT: 60})  # the first of its patient: not late
    _, line = run(program(), [(START, "gateway", body) for body in (new, bound, late, other, late)])
    account = line.accounts.of("gateway")
    assert (account.applied, account.late, account.duplicate) == (3, 1, 1)
    readings = content(line)
    assert readings["p0"][1]["weight"] == [(START - OPTIONS.lateness_ms, 70_000), (START, 80_000)]
    assert readings["p1"][1]["weight"] == [(START - 30 * DAY, 60_000)]
