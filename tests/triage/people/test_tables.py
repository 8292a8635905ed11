"""The database keeps what the tables of people declare, and their step goes back to a queue that was there before."""

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from triage import database, store
from triage.tables import Base

TABLES = ["account", "second_factor", "recovery", "session", "api_token", "opening"]


@pytest.mark.parametrize("table", TABLES)
def test_the_checks_are_those_of_the_models(world, table):
    """Autogeneration does not compare checks."""
    with world.engine.connect() as connection:
        found = {check["name"] for check in inspect(connection).get_check_constraints(table)}
    assert found == {str(c.name) for c in Base.metadata.tables[table].constraints if str(c.name)[:2] == "ck"}


ACCOUNT = {
    "name": "marie", "display": "Marie", "role": "nurse", "cells": "[]", "once": False, "failures": 0,
    "locked_until_ms": 0, "created_ms": 1, "created_by": "shell:root",
}  # fmt: skip


def insert(engine, table, values):
    marks = ", ".join(f":{name}" for name in values)
    with database.writing(engine) as connection:
        connection.execute(text(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"), values)  # noqa: S608


@pytest.mark.parametrize(
    "wrong",
    [{"role": "doctor"}, {"once": True}, {"once_until_ms": 5}, {"failures": -1}, {"created_by": None}],
)
def test_an_account_that_cannot_be(world, wrong):
    with pytest.raises(IntegrityError):
        insert(world.engine, "account", ACCOUNT | wrong)
    insert(world.engine, "account", ACCOUNT)
    assert [each.name for each in world.people.accounts()] == ["marie"]


def test_nothing_is_of_an_account_that_is_not(world):
    session = {
        "hash": "0",
        "account": "nobody",
        "created_ms": 1,
        "seen_ms": 1,
        "idle_until_ms": 2,
        "until_ms": 3,
    }
    with pytest.raises(IntegrityError):
        insert(world.engine, "session", session | {"second": False, "csrf": ""})


def test_a_queue_from_before_gets_the_tables(empty):
    engine = database.connect(database.address(empty))
    database.upgrade(engine, "0003")
    with engine.connect() as connection:
        assert not set(TABLES) & set(inspect(connection).get_table_names())
    store.open(empty).close()
    with engine.connect() as connection:
        assert set(TABLES) <= set(inspect(connection).get_table_names())
    engine.dispose()
