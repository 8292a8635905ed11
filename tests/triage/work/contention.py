"""Claims under contention: ``python tests/triage/work/contention.py [URL] [LINES]``, 4 processes on the same lines.

Prints how many each won, that each line has one winner, and how long it took.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from conftest import make_frame, make_row
from test_desk import start

from triage import audit, store

NAMES = ("marie", "paul", "luc", "anne")


def main():
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 3000
    with tempfile.TemporaryDirectory() as folder:
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/queue.sqlite"
        with store.open(url) as queue:
            queue.apply(make_frame(*(make_row(patient=f"p{i}", problem=f"x{i}") for i in range(count))))
            running = [start("claim", url, name) for name in NAMES]
            for each in running:
                each.stdout.readline()
            begun = time.monotonic()
            for each in running:
                each.stdin.write("\n")
                each.stdin.flush()
            won = [int(each.communicate()[0].split()[0]) for each in running]
            took = time.monotonic() - begun
            owners = [line.owner for line in queue.queue()]
            found = audit.verify(queue.engine)
    print(f"{count} lines, won {won}, winners {sum(won)}, in {took:.1f} s, {4 * count / took:.0f} claims/s")
    print(f"audit: {found.entries} entries, {found.problem or 'whole'}")
    good = sum(won) == count and [owners.count(name) for name in NAMES] == won
    sys.exit(not (good and found.entries == count and not found.problem))


if __name__ == "__main__":
    main()
