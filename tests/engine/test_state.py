import numpy as np
import pytest
from line_cases import program

from engine.shard import Shard
from engine.state import State

SIZES = {"width": 40, "series": 3, "rules": 5, "problems": 2, "contacts": 1, "limits": 2}


def filled(patients, **sizes):
    """A state whose arrays hold different numbers everywhere."""
    state = State(**SIZES | sizes)
    state.reserve(patients)
    rng = np.random.default_rng(patients)
    for array in state.arrays.values():
        array[:patients] = rng.integers(0, 100, array[:patients].shape)
    state.arrays["hash"][:patients] = rng.choice(2**62, patients, replace=False)
    state.used = patients
    return state


def test_growth_keeps_what_is_there():
    state = filled(10)
    before = {name: array.copy() for name, array in state.snapshot()}
    readings, alerts = state.readings, state.alerts
    for patients in (1024, 1025, 5000, 70_000):
        state.reserve(patients)
        assert state.capacity >= patients
        for name, array in state.snapshot():
            np.testing.assert_array_equal(array, before[name])
            # New places are those of a patient of whom nothing is known.
            assert not state.arrays[name][10:].any()
    assert (state.local == -1).all()
    # What the kernels are handed are the same arrays, grown.
    for columns in (readings, alerts):
        for name, array in columns._asdict().items():
            assert array is state.arrays[name]
            assert len(array) == state.capacity


def test_growth_is_in_blocks():
    state = State(**SIZES)
    sizes = set()
    for patients in range(1, 4000, 7):
        state.reserve(patients)
        sizes.add(state.capacity)
    assert len(sizes) < 10


def test_restored_it_is_the_same():
    state = filled(3000)
    other = filled(5)
    other.restore({name: array.copy() for name, array in state.snapshot()})
    assert other.used == 3000
    for (name, one), (_, two) in zip(state.snapshot(), other.snapshot(), strict=True):
        np.testing.assert_array_equal(two, one, err_msg=name)
        assert two.dtype == one.dtype


@pytest.mark.parametrize("size", ["width", "rules", "limits"])
def test_arrays_of_another_program_are_refused_by_name(size):
    arrays = dict(filled(3).snapshot())
    other = State(**SIZES | {size: SIZES[size] + 1})
    named = {
        "width": "'t' is int64\\[40\\]",
        "rules": "'phase' is uint8\\[5\\]",
        "limits": "'limits' is float64\\[2\\]",
    }
    with pytest.raises(ValueError, match=f"checkpoint array {named[size]}, this program has"):
        other.restore(arrays)


def test_a_missing_array_is_named():
    arrays = dict(filled(3).snapshot())
    del arrays["onset"]
    with pytest.raises(ValueError, match="'onset' is missing"):
        State(**SIZES).restore(arrays)


@pytest.mark.parametrize("name", ["small", "insuffisance_cardiaque", "covidom"])
def test_a_million_patients_fit_in_8_gib(name):
    state = Shard(program(name)).state
    assert state.bytes_per_patient() * 1_000_000 < 8 * 2**30


def test_the_memory_of_a_patient_is_what_is_said():
    state = State(**SIZES)
    state.reserve(100_000)
    held = sum(array.nbytes for array in state.arrays.values()) + state.local.nbytes + state.table.nbytes
    assert held / state.capacity <= state.bytes_per_patient()
