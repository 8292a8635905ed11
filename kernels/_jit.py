"""The one place that spells Numba's options; nothing else imports ``numba.njit``."""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar, cast

import numba

__all__ = ["jit", "jit_allocating", "jit_inline", "jit_part"]

P = ParamSpec("P")
R = TypeVar("R")

_compile = partial(
    numba.njit,
    # One thread per shard runs kernels at the same time.
    nogil=True,
    # The folder is keyed by all kernel sources, see kernels/__init__.py.
    cache=True,
    # Division by zero gives inf or NaN, as in NumPy, and costs no branch.
    error_model="numpy",
    # Reassociation and contraction, but without nnan and ninf, because NaN means "no reading", and without
    # arcp and afn, because 82400 / 1000.0 must be 82.4 and not 82400 * 0.001 = 82.4 + 1 ulp: limits are
    # compared with what a nurse reads.
    fastmath={"nsz", "contract", "reassoc"},
)


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` without the GIL, cached, with NaN kept legal. It may not create arrays.

    Reference counting is off: a kernel only works on arrays that its caller holds, and counting them (atomically,
    at each slice and each field of a tuple) took nine tenths of the time of a pass over a batch. Numba refuses to
    compile what would need it ("NRT required but not enabled"): take scratch as an argument, or `jit_allocating`.
    """
    return cast("Callable[P, R]", _compile(_nrt=False)(function))


def jit_allocating(function: Callable[P, R]) -> Callable[P, R]:
    """Compile as `jit` does, for a function that creates arrays: entry points, never what runs once a row."""
    return cast("Callable[P, R]", _compile()(function))


def jit_inline(function: Callable[P, R]) -> Callable[P, R]:
    """Compile as `jit` does, and always into the caller.

    For steps of a hot loop: an array is seven words, and a call that hands over the state of a shard copies some
    two hundred of them.
    """
    return cast("Callable[P, R]", _compile(_nrt=False, forceinline=True)(function))


def jit_part(function: Callable[P, R]) -> Callable[P, R]:
    """Compile as `jit` does, as a part of the caller's source: not by itself, and before types are known.

    For a step with one caller and many kernels beneath it. Each kernel is optimised together with all that it calls, so
    a level more costs them all once more: those of ECG took 85 s of processor to compile, and 50 with five levels less.
    It is no faster, and may be slower: `kernels.advance` took 18 % longer with its features as parts.
    """
    return cast("Callable[P, R]", _compile(_nrt=False, inline="always")(function))
