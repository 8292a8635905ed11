"""A process that works on a queue for the tests: claims all that it can, or lets the clockwork run until it is killed.

contender.py claim URL NAME      prints how many it won, and which others it was told of
contender.py tick URL NOW_MS     ticks for ever, at a clock that stands
"""

import sys
from collections import Counter

from triage import database
from triage.policy import Policy
from triage.store import Store
from triage.work.desk import Desk
from triage.work.states import TakenError


def main():
    verb, url, given = sys.argv[1:4]
    store = Store(database.connect(database.address(url)), Policy())
    if verb == "claim":
        desk = Desk(store.engine)
        won, told = 0, Counter()
        print("ready", flush=True)
        sys.stdin.readline()
        for episode in sorted(line.id for line in store.queue()):
            try:
                desk.claim(episode, given)
                won += 1
            except TakenError as error:
                told[error.owner] += 1
        print(won, sum(told.values()), *sorted(told))
        return
    desk = Desk(store.engine, lambda: int(given))
    print("ready", flush=True)
    while True:
        desk.tick()


if __name__ == "__main__":
    main()
