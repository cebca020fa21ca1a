"""The examples of https://dcb.events/examples, each as a small domain, raced, and its law checked on what was stored.

Every event stands in a stream of its own, so that no expected version helps: only the tags that a command reads do.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import msgspec
import pytest

from headrace.commands.decider import decider, find_decider
from headrace.commands.dispatch import Dispatcher
from headrace.commands.domain import Domain
from headrace.errors import Conflict, Rejected
from headrace.event_store.append import Appended
from headrace.event_store.condition import Criterion
from headrace.event_store.event_store import EventStore
from headrace.events.command import Command
from headrace.events.event import Event


async def race(url: str, domain: Domain, commands: Iterable[Command]) -> list[bool]:
    """Send all commands at once, through two stores by turns; whether each was carried out."""

    async def send(dispatcher: Dispatcher, command: Command) -> bool:
        while True:
            try:
                return isinstance(await dispatcher.dispatch(command), Appended)
            except Rejected:
                return False
            except Conflict:
                continue  # others were faster ten times in a row

    async with EventStore(url) as one, EventStore(url) as two:
        dispatchers = itertools.cycle([Dispatcher(store=store, domain=domain) for store in (one, two)])
        return list(await asyncio.gather(*(send(next(dispatchers), command) for command in commands)))


async def stored(store: EventStore, domain: Domain) -> list[Any]:
    return [domain.events.decode(event) async for event in store.read_matching([Criterion()])]


def make_domain(*, events: Sequence[type[Event]], deciders: Sequence[Callable[..., object]]) -> Domain:
    found = [each for function in deciders if (each := find_decider(function)) is not None]
    return Domain(events=events, commands=[command for each in found for command in each.commands], deciders=found)


# Course subscriptions: a course has a capacity, and a student takes two courses at most.

COURSES_MAX = 2


class CourseDefined(Event, tags=["course:{course}"]):
    course: str
    capacity: int


class StudentSubscribed(Event, tags=["course:{course}", "student:{student}"]):
    course: str
    student: str


class DefineCourse(Command, stream="definition-{course}-{capacity}", reads=["course:{course}"]):
    course: str
    capacity: int


class Subscribe(Command, stream="subscription-{course}-{student}", reads=["course:{course}", "student:{student}"]):
    course: str
    student: str


class Subscriptions(msgspec.Struct, frozen=True):
    """Of one course and one student, whose events are all that is read."""

    capacity: int | None = None
    pairs: tuple[tuple[str, str], ...] = ()

    def evolve(self, event: CourseDefined | StudentSubscribed) -> Self:
        match event:
            case CourseDefined(capacity=capacity):
                return type(self)(capacity, self.pairs)
            case StudentSubscribed(course=course, student=student):
                return type(self)(self.capacity, (*self.pairs, (course, student)))


@decider(DefineCourse)
def define_course(command: DefineCourse, subscriptions: Subscriptions) -> Iterable[Event]:
    if subscriptions.capacity is not None:
        raise Rejected("The course is defined already.")
    yield CourseDefined(course=command.course, capacity=command.capacity)


@decider(Subscribe)
def subscribe(command: Subscribe, subscriptions: Subscriptions) -> Iterable[Event]:
    if (command.course, command.student) in subscriptions.pairs:
        raise Rejected("The student is subscribed already.")
    if sum(course == command.course for course, _ in subscriptions.pairs) >= (subscriptions.capacity or 0):
        raise Rejected("The course is full.")
    if sum(student == command.student for _, student in subscriptions.pairs) >= COURSES_MAX:
        raise Rejected("The student takes enough courses.")
    yield StudentSubscribed(course=command.course, student=command.student)


async def test_no_course_is_overfull_and_no_student_takes_too_many(store: EventStore, url: str) -> None:
    domain = make_domain(events=[CourseDefined, StudentSubscribed], deciders=[define_course, subscribe])
    defined = await race(url, domain, [DefineCourse(course=name, capacity=size) for name in "abc" for size in (2, 3)])
    assert sum(defined) == 3
    wishes = [Subscribe(course=course, student=str(student)) for student in range(5) for course in "abc"]
    subscribed = await race(url, domain, [*wishes, *wishes])
    events = await stored(store, domain)
    capacities = {event.course: event.capacity for event in events if isinstance(event, CourseDefined)}
    pairs = [(event.course, event.student) for event in events if isinstance(event, StudentSubscribed)]
    assert len(set(pairs)) == len(pairs) == sum(subscribed)
    per_course = Counter(course for course, _ in pairs)
    per_student = Counter(student for _, student in pairs)
    assert all(count <= capacities[course] for course, count in per_course.items())
    assert all(count <= COURSES_MAX for count in per_student.values())
    # Nobody was refused without a reason: whoever could still subscribe could not be told apart from a lost place.
    assert not [
        wish
        for wish in wishes
        if (wish.course, wish.student) not in pairs
        and per_course[wish.course] < capacities[wish.course]
        and per_student[wish.student] < COURSES_MAX
    ]


# Unique user names: of the accounts that are open, no two have one name.


class AccountOpened(Event, tags=["name:{name}"]):
    account: str
    name: str


class AccountClosed(Event, tags=["name:{name}"]):
    account: str
    name: str


class OpenAccount(Command, stream="account-{account}", reads=["name:{name}"]):
    account: str
    name: str


class CloseAccount(Command, stream="account-{account}", reads=["name:{name}"]):
    account: str
    name: str


class Name(msgspec.Struct, frozen=True):
    owner: str | None = None

    def evolve(self, event: AccountOpened | AccountClosed) -> Self:
        return type(self)(event.account if isinstance(event, AccountOpened) else None)


@decider(OpenAccount)
def open_account(command: OpenAccount, name: Name) -> Iterable[Event]:
    if name.owner is not None:
        raise Rejected("The name is taken.")
    yield AccountOpened(account=command.account, name=command.name)


@decider(CloseAccount)
def close_account(command: CloseAccount, name: Name) -> Iterable[Event]:
    if name.owner != command.account:
        raise Rejected("The name is somebody else's.")
    yield AccountClosed(account=command.account, name=command.name)


async def test_a_name_has_one_owner_at_a_time(store: EventStore, url: str) -> None:
    domain = make_domain(events=[AccountOpened, AccountClosed], deciders=[open_account, close_account])
    openings = [OpenAccount(account=f"{name}{number}", name=name) for number in range(10) for name in ("ada", "bob")]
    assert sum(await race(url, domain, openings)) == 2
    closings = [CloseAccount(account=each.account, name=each.name) for each in openings]
    assert sum(await race(url, domain, [*closings, *openings])) >= 2
    owners: dict[str, str | None] = {}
    for event in await stored(store, domain):
        if isinstance(event, AccountOpened):
            assert owners.get(event.name) is None
            owners[event.name] = event.account
        else:
            assert owners[event.name] == event.account
            owners[event.name] = None


# Invoice numbers: 1, 2, 3, … without a gap.


class InvoiceWritten(Event, tags=["invoices"]):
    number: int


class WriteInvoice(Command, stream="invoice-of-{order}", reads=["invoices"]):
    order: str


class Invoices(msgspec.Struct, frozen=True):
    last: int = 0

    def evolve(self, event: InvoiceWritten) -> Self:
        return type(self)(event.number)


@decider(WriteInvoice)
def write_invoice(command: WriteInvoice, invoices: Invoices) -> Iterable[Event]:
    yield InvoiceWritten(number=invoices.last + 1)


async def test_invoice_numbers_have_no_gap(store: EventStore, url: str) -> None:
    domain = make_domain(events=[InvoiceWritten], deciders=[write_invoice])
    assert all(await race(url, domain, [WriteInvoice(order=str(number)) for number in range(20)]))
    assert [event.number for event in await stored(store, domain)] == list(range(1, 21))


# Opt-in tokens: a sign-up is confirmed with its token, once.


class SignUpStarted(Event, tags=["token:{token}"]):
    token: str
    person: str


class SignUpConfirmed(Event, tags=["token:{token}"]):
    token: str
    person: str


class StartSignUp(Command, stream="sign-up-{person}", reads=["token:{token}"]):
    token: str
    person: str


class ConfirmSignUp(Command, stream="person-{attempt}", reads=["token:{token}"]):
    token: str
    attempt: int


class Token(msgspec.Struct, frozen=True):
    person: str | None = None
    used: bool = False

    def evolve(self, event: SignUpStarted | SignUpConfirmed) -> Self:
        return type(self)(event.person, isinstance(event, SignUpConfirmed))


@decider(StartSignUp)
def start_sign_up(command: StartSignUp, token: Token) -> Iterable[Event]:
    if token.person is not None:
        raise Rejected("The token was given to somebody.")
    yield SignUpStarted(token=command.token, person=command.person)


@decider(ConfirmSignUp)
def confirm_sign_up(command: ConfirmSignUp, token: Token) -> Iterable[Event]:
    if token.person is None or token.used:
        raise Rejected("The token is not valid.")
    yield SignUpConfirmed(token=command.token, person=token.person)


async def test_a_token_is_used_once_by_whom_it_was_given_to(store: EventStore, url: str) -> None:
    domain = make_domain(events=[SignUpStarted, SignUpConfirmed], deciders=[start_sign_up, confirm_sign_up])
    starts = [StartSignUp(token=token, person=f"{token}{number}") for number in range(5) for token in ("t", "u")]
    confirmations = [ConfirmSignUp(token=token, attempt=number) for number in range(8) for token in ("t", "u", "v")]
    await race(url, domain, [*confirmations, *starts])
    await race(url, domain, confirmations)
    events = await stored(store, domain)
    for token in ("t", "u"):
        started, confirmed = (event for event in events if event.token == token)
        assert (type(started), type(confirmed)) == (SignUpStarted, SignUpConfirmed)
        assert started.person == confirmed.person
    assert len(events) == 4


# Prices: an order is at the price in force at its place in the log, which is the one that the customer was shown.


class PriceSet(Event, tags=["product:{product}"]):
    product: str
    price: int


class ProductOrdered(Event, tags=["order:{order}"]):
    """Without the product's tag: orders do not get into each other's way."""

    order: str
    product: str
    price: int


class SetPrice(Command, stream="price-{product}-{price}", reads=["product:{product}"]):
    product: str
    price: int


class OrderProduct(Command, stream="order-{order}", reads=["product:{product}"]):
    order: str
    product: str
    shown: int


class Price(msgspec.Struct, frozen=True):
    price: int | None = None

    def evolve(self, event: PriceSet) -> Self:
        return type(self)(event.price)


@decider(SetPrice)
def set_price(command: SetPrice, price: Price) -> Iterable[Event]:
    yield PriceSet(product=command.product, price=command.price)


@decider(OrderProduct)
def order_product(command: OrderProduct, price: Price) -> Iterable[Event]:
    if price.price != command.shown:
        raise Rejected("The price has changed.")
    yield ProductOrdered(order=command.order, product=command.product, price=command.shown)


async def test_an_order_is_at_the_price_in_force(store: EventStore, url: str) -> None:
    domain = make_domain(events=[PriceSet, ProductOrdered], deciders=[set_price, order_product])
    assert all(await race(url, domain, [SetPrice(product=name, price=1) for name in "ab"]))
    orders = [
        OrderProduct(order=f"{name}-{shown}-{number}", product=name, shown=shown)
        for number in range(4)
        for name in "ab"
        for shown in (1, 2, 3)
    ]
    changes = [SetPrice(product=name, price=price) for price in (2, 3) for name in "ab"]
    await race(url, domain, [*orders[:8], *changes, *orders[8:]])
    prices: dict[str, int] = {}
    # Between streams the log is in the order of transaction numbers; conditions hold in the order of commits, and locks
    # are taken before numbers, so for what is conditional on each other the two are one.
    for event in await stored(store, domain):
        if isinstance(event, PriceSet):
            prices[event.product] = event.price
        else:
            assert event.price == prices[event.product]


# Duplicates: a request that carries a token is carried out once, whatever else is in it.


class PaymentMade(Event, tags=["request:{request}"]):
    request: str
    amount: int


class Pay(Command, stream="payment-{request}-{attempt}", reads=["request:{request}"]):
    request: str
    amount: int
    attempt: int


class Request(msgspec.Struct, frozen=True):
    done: bool = False

    def evolve(self, event: PaymentMade) -> Self:
        return type(self)(done=True)


@decider(Pay)
def pay(command: Pay, request: Request) -> Iterable[Event]:
    if request.done:
        raise Rejected("This was paid already.")
    yield PaymentMade(request=command.request, amount=command.amount)


@pytest.mark.parametrize("attempts", [2, 20])
async def test_a_request_is_carried_out_once(store: EventStore, url: str, attempts: int) -> None:
    domain = make_domain(events=[PaymentMade], deciders=[pay])
    requests = [
        Pay(request=str(number), amount=5, attempt=attempt) for attempt in range(attempts) for number in range(3)
    ]
    assert sum(await race(url, domain, requests)) == 3
    assert sorted(event.request for event in await stored(store, domain)) == ["0", "1", "2"]
