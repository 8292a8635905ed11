"""Where msgpack objects end, by another way than the decoder's, and whether what was decoded covers every body."""

import numpy as np

from kernels._jit import jit

MAX_DEPTH = 8
SHORTEST = 10
NOT_A_PACKET = 5
LAST_OF_FRAMING = 4

# What a first byte means: bytes of length that follow, bytes of content, objects of content.
_WIDTH = np.zeros(256, np.int64)
_CONTENT = np.zeros(256, np.int64)
_OBJECTS = np.zeros(256, np.int64)
_WIDTH[[0xC4, 0xC7, 0xD9]], _WIDTH[[0xC5, 0xC8, 0xDA, 0xDC, 0xDE]] = 1, 2
_WIDTH[[0xC6, 0xC9, 0xDB, 0xDD, 0xDF]] = 4
_CONTENT[0xA0:0xC0] = np.arange(32)
_CONTENT[0xC7:0xCA] = 1
_CONTENT[0xCA:0xD4] = (4, 8, 1, 2, 4, 8, 1, 2, 4, 8)
_CONTENT[0xD4:0xD9] = (2, 3, 5, 9, 17)
_OBJECTS[0x80:0x90] = 2 * np.arange(16)
_OBJECTS[0x90:0xA0] = np.arange(16)
_EACH = np.zeros(256, np.int64)  # objects an element of a length stands for; 0: it counts bytes
_EACH[[0xDC, 0xDD]], _EACH[[0xDE, 0xDF]] = 1, 2


def tables() -> np.ndarray:
    """Give the four columns of the table of first bytes, int64[4, 256]."""
    return np.stack([_WIDTH, _CONTENT, _OBJECTS, _EACH])


@jit
def end_of(data, at, stop, table, left):
    """One past the object at `at`, or -1: cut short, byte 0xc1, or containers more than MAX_DEPTH deep."""
    depth = 0
    left[0] = 1
    while depth >= 0:
        if left[depth] == 0:
            depth -= 1
            continue
        left[depth] -= 1
        if at >= stop or data[at] == 0xC1:
            return -1
        tag = data[at]
        at += 1
        width = table[0, tag]
        if width > stop - at:
            return -1
        size = 0
        for k in range(width):
            size = size * 256 + np.int64(data[at + k])
        at += width
        content = table[1, tag]
        objects = table[2, tag] + size * table[3, tag]
        if table[3, tag] == 0:
            content += size
        if content > stop - at or objects > stop - at:
            return -1
        at += content
        container = 0x80 <= tag < 0xA0 or 0xDC <= tag <= 0xDF
        if container:
            if depth == MAX_DEPTH:
                return -1
            if objects > 0:
                depth += 1
                left[depth] = objects
    return at


@jit
def cover(  # noqa: C901, PLR0911, PLR0912 a walk with its cases, compiled
    data, body_at, row_body, id_at, id_len, bad_body, bad_at, bad_length, reason, table, left, begin, end
):
    """Walk every body: each object is an accepted packet or in a refused stretch, in order, nothing twice.

    Parameters
    ----------
    data, body_at
        The bodies and where they begin.
    row_body, id_at, id_len : [packets]
        Body of each accepted packet, where the patient's id stands.
    bad_body, bad_at, bad_length, reason : [refused]
    table, left
        `tables`, and scratch int64[MAX_DEPTH + 1].
    begin, end : int64[packets]
        Written: where each accepted packet stands.

    Returns
    -------
    body : int
        The first that is not covered, -1 when all are.
    """
    row = 0
    bad = 0
    for body in range(len(body_at) - 1):
        at = body_at[body]
        stop = body_at[body + 1]
        while at < stop:
            after = end_of(data, at, stop, table, left)
            if row < len(id_at) and row_body[row] == body and at < id_at[row] and id_at[row] < after:
                if id_at[row] + id_len[row] > after:
                    return body
                begin[row] = at
                end[row] = after
                row += 1
                at = after
                continue
            if bad >= len(bad_at) or bad_body[bad] != body or bad_at[bad] != at:
                return body
            over = at + bad_length[bad]
            if after < 0:
                if over != stop or reason[bad] > LAST_OF_FRAMING:
                    return body
            elif reason[bad] <= LAST_OF_FRAMING:
                return body
            elif over != after:
                # Objects too short to be a packet make one stretch.
                if reason[bad] != NOT_A_PACKET or over > stop:
                    return body
                while at < over:
                    if after < 0 or after - at >= SHORTEST:
                        return body
                    at = after
                    if at < over:
                        after = end_of(data, at, stop, table, left)
                if at != over:
                    return body
            at = over
            bad += 1
    if row != len(id_at) or bad != len(bad_at):
        return len(body_at) - 1
    return -1
