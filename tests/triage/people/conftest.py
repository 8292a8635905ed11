"""People in a real database, with hashes that are cheap, and a clock that the tests move."""

import pyotp
import pytest
from argon2 import PasswordHasher
from cryptography.fernet import Fernet

from triage import audit, database, store
from triage.people.accounts import People
from triage.people.administration import NewAccount
from triage.people.passwords import Attempts, Passwords
from triage.people.person import Role, SignedIn
from triage.people.seal import Seal

T0 = 1_790_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
PASSWORD = "bleu comme une orange"  # noqa: S105
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class World:
    """A database with its people, and shorthands for what tests do all the time."""

    def __init__(self, engine, **options):
        self.engine = engine
        self.seal = Seal([Fernet.generate_key().decode()])
        self.people = self.another(**options)
        self.secrets = {}

    def another(self, **options):
        """A second process on the same database."""
        given = {"second_required": False, "attempts": Attempts(10_000, 10_000, 100_000)}
        return People(self.engine, self.seal, passwords=Passwords(CHEAP), **(given | options))

    def account(self, name="marie", role=Role.NURSE, cells=("Nord",), now=T0, **more):
        """An account whose person has chosen PASSWORD."""
        given = self.people.create(NewAccount(name, role, cells, **more), "shell:root", now)
        come = self.people.sign_in(name, given, "", now)
        done = self.people.set_password(come.person, given, PASSWORD, now)
        assert isinstance(done, SignedIn)
        return done

    def enrol(self, come, now=T0):
        """Give a second factor; returns recovery codes."""
        offer = self.people.offer_second(come.person, now)
        self.secrets[come.person.name] = offer.secret
        return self.people.confirm_second(come.person, self.code(come.person.name, now), now)

    def code(self, name, now):
        return pyotp.TOTP(self.secrets[name]).at(now // 1000)

    def trail(self, subject=None):
        """What was noted, oldest first: (actor, action)."""
        return [(each.actor, each.action) for each in audit.entries(self.engine, subject=subject)][::-1]


@pytest.fixture(scope="session")
def make_world():
    """Makes a world in a new database: what hypothesis asks for, one for each example."""

    def make(url):
        store.open(url).close()
        return World(database.connect(database.address(url)))

    return make


@pytest.fixture
def world(url, make_world):
    world = make_world(url)
    engine = world.engine
    yield world
    # Whatever a test did: the trail is whole.
    assert audit.verify(engine).problem == ""
    engine.dispose()
