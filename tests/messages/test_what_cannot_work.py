"""Settings and state that cannot work are refused by who adds the component."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from kinesis import Component, Container, Runtime, field
from kinesis.errors import DeclarationError
from tests.messages.parts import PATIENCE, Add, Adder

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"overflow": "burst"}, "one of 'refuse', 'wait', 'drop-oldest'"),
    ({"on_stop": "hurry"}, "one of 'drain', 'refuse'"),
    ({"dispatch": "nobody"}, "one of 'mailbox', 'caller'"),
    ({"mailbox_bound": 0}, "a whole number above 0"),
    ({"mailbox_bound": 2.5}, "a whole number above 0"),
    ({"stop_deadline": -1.0}, "a number of seconds"),
    ({"start_deadline": "soon"}, "a number of seconds"),
    ({"stall_after": float("nan")}, "a number of seconds"),
    ({"start_deadline": 10**400}, "a number of seconds"),
    ({"restart": "always"}, "a Restart"),
]


@pytest.mark.parametrize(("settings", "expected"), WRONG)
def test_a_setting_that_cannot_work_is_refused_with_what_it_may_be(
    settings: dict[str, Any], expected: str
) -> None:
    """
    At once; the runtime goes on, and stops as always.
    """
    [(name, value)] = settings.items()
    with Runtime() as runtime:
        with pytest.raises(DeclarationError, match=expected) as refused:
            runtime.add(Adder(name="adder", **settings), timeout=PATIENCE)

        assert f"'/app/adder' cannot have {name}={value!r}" in str(refused.value)
        assert runtime.add(Adder(name="adder")).send(Add(1)) == 1


def test_state_of_a_type_without_a_form_in_json_is_refused() -> None:
    """
    By add, not by the thread that supervises.
    """

    class Holds(Component):
        connection: socket.socket = field()

    with socket.socket() as connection, Runtime() as runtime:
        with pytest.raises(DeclarationError, match="cannot be state"):
            runtime.add(Holds(name="holds", connection=connection), timeout=PATIENCE)

        assert len(runtime) == 0


def test_a_container_that_is_refused_leaves_its_components_free() -> None:
    """
    They may be added elsewhere; so may the container, once that is mended.
    """
    fine, wrong = Adder(name="fine"), Adder(name="wrong", mailbox_bound=-1)
    inner = Container(name="inner", components=[fine, wrong])
    box = Container(name="box", components=[inner])
    with Runtime() as runtime:
        with pytest.raises(DeclarationError, match="/app/box/inner/wrong"):
            runtime.add(box, timeout=PATIENCE)
        assert runtime.add(fine).send(Add(1)) == 1
        wrong.mailbox_bound = 5
        assert runtime.add(wrong).send(Add(1)) == 1

        inner.components = ()
        assert [ref.name for ref in runtime.add(box)] == ["inner"]
