"""Mutated bodies, many at a time: NumPy on whole arrays, no Python for a body.

A mutated body is made of three pieces: the beginning of one body, a fragment, the end of the same or another body.
Where the pieces are cut decides what it is: an insertion, a deletion, a truncation, a replaced element, a splice. Then
single bytes are flipped or overwritten, half of them at the beginning of an object, where types and lengths are.
"""

import numpy as np
from corpus import Corpus, fragments

NONE, INSERT, DELETE, TRUNCATE, REPLACE, SPLICE, SWAP = range(7)
_SHARE = (0.22, 0.12, 0.1, 0.1, 0.26, 0.1, 0.1)
_TYPES = np.array([0x00, 0x7F, 0x80, 0x90, 0x92, 0x99, 0x9F, 0xA0, 0xBF, *range(0xC0, 0xE1), 0xFF], np.uint8)


def take(data: np.ndarray, begin: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Put ``data[begin : begin + length]`` of all rows one after the other."""
    ends = np.cumsum(length)
    shift = np.repeat(begin - (ends - length), length)
    shift += np.arange(len(shift))
    return data[shift]


class Mutator:
    """Draws bodies from a corpus.

    Parameters
    ----------
    corpus : Corpus
    seed : int
        The same seed gives the same bodies.
    """

    def __init__(self, corpus: Corpus, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.corpus = corpus
        made = fragments(seed)
        lengths = np.array([len(fragment) for fragment in made])
        self._fragment_at = len(corpus.data) + np.cumsum(lengths) - lengths
        self._fragment_length = lengths
        self._source = np.concatenate([corpus.data, np.frombuffer(b"".join(made), np.uint8)])

    def draw(self, bodies: int) -> tuple[np.ndarray, np.ndarray]:
        """Give bodies one after the other, and where each begins and the last one ends."""
        corpus, rng = self.corpus, self.rng
        body = rng.integers(0, len(corpus.length), bodies)
        operation = rng.choice(len(_SHARE), bodies, p=_SHARE)
        other = np.where(operation == SPLICE, rng.integers(0, len(corpus.length), bodies), body)
        # Cut at an object's boundary (whole elements move) or anywhere (headers and contents are torn).
        k = self._any(corpus.first, body)
        cut = corpus.element[k]
        following = corpus.element[np.minimum(k + 1, corpus.first[body + 1] - 1)]
        anywhere = rng.random(bodies) < 0.35
        cut = np.where(anywhere, rng.integers(0, corpus.length[body] + 1), cut)
        whole = (operation == SPLICE) & (rng.random(bodies) < 0.4)
        cut = np.where(whole, corpus.packet[self._any(corpus.packets, body)], cut)

        resume = cut.copy()
        span = np.where(anywhere, cut + rng.integers(1, 40, bodies), np.maximum(following, cut))
        removing = (operation == DELETE) | (operation == REPLACE)
        resume[removing] = np.minimum(span, corpus.length[body])[removing]
        resume[operation == TRUNCATE] = corpus.length[body[operation == TRUNCATE]]
        spliced = np.where(
            whole,
            corpus.packet[self._any(corpus.packets, other)],
            corpus.element[self._any(corpus.first, other)],
        )
        resume[operation == SPLICE] = spliced[operation == SPLICE]
        # A stretch that is sent twice: resume before the cut.
        again = np.maximum(0, cut - rng.integers(1, 80, bodies))
        resume[operation == SWAP] = again[operation == SWAP]

        fragment = rng.integers(0, len(self._fragment_length), bodies)
        inserting = (operation == INSERT) | (operation == REPLACE)
        begin = np.empty((bodies, 3), np.int64)
        length = np.empty((bodies, 3), np.int64)
        begin[:, 0], length[:, 0] = corpus.begin[body], cut
        begin[:, 1], length[:, 1] = self._fragment_at[fragment], self._fragment_length[fragment] * inserting
        begin[:, 2], length[:, 2] = corpus.begin[other] + resume, corpus.length[other] - resume
        data = take(self._source, begin.ravel(), length.ravel())
        body_at = np.zeros(bodies + 1, np.int64)
        np.cumsum(length.sum(axis=1), out=body_at[1:])
        self._bytes(data, body_at, body, cut)
        return data, body_at

    def _any(self, first: np.ndarray, row: np.ndarray) -> np.ndarray:
        return first[row] + self.rng.integers(0, first[row + 1] - first[row])

    def _bytes(self, data: np.ndarray, body_at: np.ndarray, body: np.ndarray, cut: np.ndarray) -> None:
        """Change single bytes: none in two bodies of five, one or a few in the others."""
        rng, corpus = self.rng, self.corpus
        times = rng.choice(6, len(body), p=(0.4, 0.3, 0.15, 0.07, 0.05, 0.03))
        row = np.repeat(np.arange(len(body)), times)
        size = body_at[row + 1] - body_at[row]
        row, size = row[size > 0], size[size > 0]
        place = rng.integers(0, size)
        # Before the cut, objects still begin where they did.
        start = corpus.element[self._any(corpus.first, body[row])]
        at_object = (rng.random(len(row)) < 0.5) & (start < cut[row]) & (start < size)
        place = body_at[row] + np.where(at_object, start, place)
        how = rng.integers(0, 4, len(row))
        flipped = data[place] ^ (np.uint8(1) << rng.integers(0, 8, len(row), np.uint8))
        added = data[place] + rng.choice(np.array([1, 255], np.uint8), len(row))
        any_byte = rng.integers(0, 256, len(row), np.uint8)
        data[place] = np.choose(how, (flipped, any_byte, rng.choice(_TYPES, len(row)), added))
