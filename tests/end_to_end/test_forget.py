"""A person in the whole system: never in plain text on disk or in ClickHouse, and after `headrace forget` nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from support.running_project import Stack, headrace, headrace_json, running_stack, wait_until

from headrace.cli.forget import SHOWN_AT_MOST_S

# What is looked for on disk: not in the source of the project, and in one piece wherever it stands.
ADDRESS = f"ada-{uuid4().hex}@example.org"
NAME = f"Ada {uuid4().hex}"

DOMAIN = '''
from collections.abc import Iterable

import msgspec

from headrace import Command, Event, JoinablePersonal, Personal, Rejected, decider


class Register(Command, stream="customer-{customer_id}"):
    customer_id: str
    name: str
    email: str


class Order(Command, stream="order-{order_id}"):
    order_id: str
    customer_id: str
    email: str


class Greet(Command, stream="customer-{customer_id}"):
    customer_id: str


class Registered(Event, subject="{customer_id}"):
    customer_id: str
    name: Personal[str]
    email: JoinablePersonal[str | None]


class Ordered(Event, subject="{customer_id}"):
    order_id: str
    customer_id: str
    email: JoinablePersonal[str | None]


class Customer(msgspec.Struct, frozen=True):
    name: str = ""
    email: str | None = None

    def evolve(self, event: Registered) -> "Customer":
        return Customer(event.name, event.email)


class Orders(msgspec.Struct, frozen=True):
    def evolve(self, event: Ordered) -> "Orders":
        return self


@decider(Register)
def register(command: Register, customer: Customer) -> Iterable[Event]:
    yield Registered(customer_id=command.customer_id, name=command.name, email=command.email)


@decider(Order)
def order(command: Order, orders: Orders) -> Iterable[Event]:
    yield Ordered(order_id=command.order_id, customer_id=command.customer_id, email=command.email)


@decider(Greet)
def greet(command: Greet, customer: Customer) -> Iterable[Event]:
    """Says what the application can read."""
    raise Rejected(f"Hello {customer.name} {customer.email}")
'''
STREAM = "CREATE STREAM orders AS SELECT order_id, email FROM Ordered;"
TABLES = "SELECT database, name FROM system.tables WHERE lower(database) NOT IN ('system', 'information_schema')"
QUERY = "SELECT count() AS joined FROM orders JOIN Registered USING (email)"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    files = {
        "headrace.toml": 'project = "people"\n',
        "domain.py": DOMAIN,
        "streams/orders.sql": STREAM,
        "queries/joined.sql": QUERY,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with running_stack(tmp_path) as running:
        yield running


def greeting(stack: Stack) -> str:
    answer = stack.http.post("/commands/Greet", json={"customer_id": "ada"})
    assert answer.status_code == 422, answer.text
    return str(answer.json()["message"])


def send(stack: Stack, command: str, **fields: str) -> str:
    answer = stack.http.post(f"/commands/{command}", json=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["position"])


def assert_nowhere(stack: Stack) -> None:
    """In no table of ClickHouse as it answers, and in no file: PostgreSQL's tables and log, ClickHouse's, our own."""
    for table in stack.sql(TABLES):
        rows = str(stack.sql(f"SELECT * FROM `{table['database']}`.`{table['name']}`"))
        assert ADDRESS not in rows, table
        assert NAME not in rows, table
    # os.walk, unlike rglob, bears with folders that ClickHouse removes meanwhile.
    for folder, _, names in os.walk(stack.folder / ".headrace"):
        for path in (Path(folder, name) for name in names):
            try:
                content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            except FileNotFoundError:
                continue
            assert ADDRESS.encode() not in content, path
            assert NAME.encode() not in content, path
    assert ADDRESS not in stack.said
    assert NAME not in stack.said


def test_a_person_is_in_plain_text_nowhere_and_unreadable_once_forgotten(stack: Stack) -> None:
    send(stack, "Register", customer_id="ada", name=NAME, email=ADDRESS)
    send(stack, "Register", customer_id="bob", name="Bob", email="bob@example.org")
    position = send(stack, "Order", order_id="1", customer_id="ada", email=ADDRESS)
    assert greeting(stack) == f"Hello {NAME} {ADDRESS}"
    assert stack.query("joined", position) == [{"joined": 1}]
    (registered,) = stack.sql("SELECT name, email FROM people.Registered WHERE customer_id = 'ada'")
    assert registered["name"] == "[personal]"
    assert len(registered["email"]) == 64
    assert_nowhere(stack)

    dry = headrace_json("forget", "ada", "--dry-run", folder=stack.folder)
    done = headrace_json("forget", "ada", folder=stack.folder)
    assert done == dry | {"key": "deleted"}
    assert done["found"] == [
        {"type": "Ordered", "stream": "order-1", "events": 1, "fields": ["email"], "keyed_hashes": 1},
        {"type": "Registered", "stream": "customer-ada", "events": 1, "fields": ["email", "name"], "keyed_hashes": 1},
    ]
    assert done["shown_at_most_s"] == SHOWN_AT_MOST_S

    wait_until(lambda: greeting(stack) == "Hello [forgotten] None", "forgotten", SHOWN_AT_MOST_S + 15)
    assert_nowhere(stack)
    assert stack.query("joined") == [{"joined": 1}]
    shown = headrace("events", "show", "customer-ada", folder=stack.folder).stdout
    assert "personal:1:" in shown
    assert headrace("forget", "nobody", folder=stack.folder).returncode == 2
