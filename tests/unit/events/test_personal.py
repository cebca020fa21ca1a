"""Which declarations of personal fields are taken, and which are refused when the class is made."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from headrace.errors import InvalidConfiguration, InvalidInput
from headrace.events.event import Event, EventMeta
from headrace.events.event_types import EventTypes
from headrace.events.personal import JoinablePersonal, Personal, PersonalField, personal_fields


class Registered(Event, subject="customer-{customer_id}", tags=["shop:{shop}"], rename="camel"):
    customer_id: str | None
    full_name: Personal[str]
    shop: str = "1"
    phone: Personal[str | None] = None
    email: JoinablePersonal[str | None] = None


class Renamed(Registered, tags=["corrected"]):
    reason: str = ""


Short = Annotated[str, msgspec.Meta(max_length=5)]


class Nested(msgspec.Struct):
    name: Personal[str]


def test_personal_fields_are_found_with_their_names_in_json() -> None:
    assert personal_fields(Registered) == (
        PersonalField("full_name", "fullName", False, False),
        PersonalField("phone", "phone", True, False),
        PersonalField("email", "email", True, True),
    )


def test_an_event_carries_the_tag_of_its_subject_and_heirs_do_too() -> None:
    assert Registered(customer_id="7", full_name="Ada").tags() == ("shop:1", "subject:customer-7")
    assert Renamed(customer_id="7", full_name="Ada", reason="typo").tags() == ("corrected", "subject:customer-7")


def test_an_event_about_nobody_is_refused() -> None:
    with pytest.raises(InvalidInput, match="whom it is about"):
        Registered(customer_id=None, full_name="Ada").subject()


@pytest.mark.parametrize(
    "field",
    [
        "Personal[int]",
        "Personal[str] | None",
        "Personal[str | int]",
        "Personal[Short]",
        "Personal[list[str]]",
        "list[Personal[str]]",
        "dict[str, Personal[str]]",
        "Nested",
        "Nested | None",
    ],
)
def test_what_cannot_be_sealed_is_refused_when_the_class_is_made(field: str) -> None:
    with pytest.raises(InvalidConfiguration, match=r"Wrong\.value cannot be personal"):
        make(value=field, subject="{who}")


def test_personal_fields_without_a_subject_are_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="does not say whose they are"):
        make(value=Personal[str])


@pytest.mark.parametrize("subject", ["", "customer", "{customer_id}"])
def test_a_subject_that_names_no_field_is_refused(subject: str) -> None:
    with pytest.raises(InvalidConfiguration, match=r"subject|whose"):
        make(value=Personal[str], subject=subject)


def test_tags_and_subjects_show_no_personal_field() -> None:
    with pytest.raises(InvalidConfiguration, match="from a personal field"):
        make(value=Personal[str], subject="{who}", tags=["name:{value}"])
    with pytest.raises(InvalidConfiguration, match="from a personal field"):
        make(value=Personal[str], subject="{value}")


def test_the_tag_of_subjects_is_reserved() -> None:
    with pytest.raises(InvalidConfiguration, match="subject="):
        make(value=str, tags=["subject:{who}"])


def test_a_field_of_a_class_that_is_declared_later_is_checked_by_the_domain() -> None:
    later: Any = make(value="list[DeclaredLater]")
    globals()["DeclaredLater"] = Nested
    with pytest.raises(InvalidConfiguration, match="cannot be personal"):
        EventTypes([later])


def make(*, value: Any, **config: Any) -> Any:
    """class Wrong(Event, …): who: str; value: …"""
    body = {"__module__": __name__, "__annotations__": {"who": str, "value": value}}
    return EventMeta("Wrong", (Event,), body, **config)
