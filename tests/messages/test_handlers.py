"""Which handler a message gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from kinesis import Component, Message, Runtime, control, handles
from kinesis.errors import DeclarationError, UnhandledMessageError
from kinesis.handlers import Function, Handlers
from tests.messages.parts import Adder, Call, Get, wait_until


class Animal(Message[str]):
    """The most general."""


class Dog(Animal):
    """More derived."""


class Puppy(Dog):
    """The most derived."""


class Barks:
    """A base beside the others."""


class Terrier(Dog, Barks):
    """Of two bases; the first comes first."""


class Zoo(Component):
    """Handles two of these."""

    @handles(Animal)
    def animal(self, message: Animal) -> str:
        return "animal"

    @handles(Dog)
    def dog(self, message: Dog) -> str:
        return "dog"


def ask(component: Component, *messages: object) -> list[Any]:
    """Return what *component* answers to each."""
    with Runtime() as runtime:
        ref = runtime.add(component)
        return [ref.send(message) for message in messages]


def test_the_most_derived_class_of_a_message_that_has_a_handler_decides() -> None:
    """
    Whatever the order in which the methods stand.
    """
    assert ask(Zoo(name="zoo"), Animal(), Dog(), Puppy()) == ["animal", "dog", "dog"]


def test_of_two_bases_the_first_in_the_order_of_python_decides() -> None:
    """
    As with methods.
    """

    class Kennel(Zoo):
        @handles(Barks)
        def barks(self, message: Barks) -> str:
            return "barks"

    assert ask(Kennel(name="zoo"), Terrier(), Barks()) == ["dog", "barks"]


def test_a_subclass_inherits_the_handlers_and_may_replace_each() -> None:
    """
    By its name without a mark, and by the type under another name.
    """

    class Named(Zoo):
        def dog(self, message: Dog) -> str:
            return "a better dog"

    class Typed(Zoo):
        @handles(Animal)
        def beast(self, message: Animal) -> str:
            return "beast"

    assert ask(Named(name="zoo"), Animal(), Dog()) == ["animal", "a better dog"]
    assert ask(Typed(name="zoo"), Animal(), Dog()) == ["beast", "dog"]


def test_a_method_that_is_marked_anew_handles_what_it_says_now() -> None:
    """
    Not what the method that it replaces said as well.
    """

    class Renamed(Zoo):
        @handles(Barks)
        def dog(self, message: Barks) -> str:  # type: ignore[override]  # on purpose
            return "barks"

    assert ask(Renamed(name="zoo"), Barks(), Dog()) == ["barks", "animal"]


def test_a_subclass_takes_a_handler_away_with_none() -> None:
    """
    As with ``__hash__``: then the message is for the next class, or nobody.
    """

    class Dogless(Zoo):
        dog = None  # type: ignore[assignment]  # on purpose

    assert ask(Dogless(name="zoo"), Dog()) == ["animal"]


def test_mixins_bring_handlers() -> None:
    """
    They need not be components.
    """

    class Talks:
        @handles(str)
        def talk(self, message: str) -> str:
            return message.upper()

    class Parrot(Talks, Component):
        """Has a handler from its mixin."""

    assert ask(Parrot(name="parrot"), "hello") == ["HELLO"]


def test_one_method_may_handle_several_types() -> None:
    """
    Named at once, or one above the other.
    """

    class Takes(Component):
        @handles(int, str)
        @handles(Dog)
        def take(self, message: object) -> str:
            return type(message).__name__

    assert ask(Takes(name="takes"), 1, "x", Dog()) == ["int", "str", "Dog"]


def test_the_default_handler_takes_the_rest() -> None:
    """
    Only what has no other.
    """

    class Takes(Zoo):
        def default_handler(self, message: object) -> str:
            return f"some {type(message).__name__}"

    assert ask(Takes(name="takes"), Puppy(), 5) == ["dog", "some int"]


def test_control_messages_never_reach_a_handler() -> None:
    """
    Not even one that takes everything.
    """
    taken: list[object] = []

    class Takes(Component):
        def default_handler(self, message: object) -> None:
            taken.append(message)

    with Runtime() as runtime:
        takes = runtime.add(Takes(name="takes"))
        takes.send(control.Persist())
        takes.post(control.DisablePeerMessaging())
        runtime.root.broadcast(control.EnablePeerMessaging())
        with pytest.raises(UnhandledMessageError):
            takes.send_all([control.Persist()])
        takes.send("x")

    assert taken == ["x"]


def test_a_handler_can_be_added_at_run_time() -> None:
    """
    From the next message on; it wins over the one that the class has.
    """
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with pytest.raises(UnhandledMessageError):
            adder.send(Dog())
        adder.send(Call(lambda me: me.set_handler(Animal, lambda message: "added")))
        first = [adder.send(Dog()), adder.send(Puppy())]
        adder.send(Call(lambda me: me.set_handler(Dog, lambda message: "more")))
        adder.send(Call(lambda me: me.set_handler(Get, lambda message: -1)))

        assert adder.send(Get()) == -1
        assert first == ["added", "added"]
        assert [adder.send(Animal()), adder.send(Dog())] == ["added", "more"]


def test_a_handler_that_init_adds_makes_a_component_one_that_handles() -> None:
    """
    It goes on when its start has returned, as those with a declared handler do.
    """

    class Late(Component):
        def init(self) -> None:
            self.set_handler(int, lambda number: number + 1)

    with Runtime() as runtime:
        late = runtime.add(Late(name="late"))

        assert late.send(1) == 2


def test_a_component_that_handles_nothing_has_finished_when_start_returns() -> None:
    """
    There is nothing more that could happen to it.
    """

    class Once(Component):
        """Does nothing."""

    with Runtime() as runtime:
        once = runtime.add(Once(name="once"))
        wait_until(lambda: str(once.stage) == "TORN_DOWN")

        assert any("finished" in line for line in once.why())


@pytest.mark.parametrize("types", [(), (1,), ("Dog",), (Dog, None)])
def test_what_is_no_class_cannot_be_handled(types: tuple[Any, ...]) -> None:
    """
    It is refused where it is written.
    """
    with pytest.raises(DeclarationError, match="@handles"):
        handles(*types)


async def answers_later(message: object) -> None:
    """Be a coroutine function."""


def answers_bit_by_bit(message: object) -> Iterator[object]:
    """Be a generator."""
    yield message


@pytest.mark.parametrize("function", [answers_later, answers_bit_by_bit])
def test_a_handler_of_which_a_call_runs_nothing_is_refused(function: Function) -> None:
    """
    Where it is written, and where it is set.
    """
    with pytest.raises(DeclarationError, match="runs none of it"):
        handles(Dog)(function)
    with Runtime() as runtime:
        adder = runtime.add(Adder(name="adder"))
        with pytest.raises(DeclarationError, match="handler of Dog is .* none of it"):
            adder.send(Call(lambda me: me.set_handler(Dog, function)))
        with pytest.raises(UnhandledMessageError):
            adder.send(Dog())


def test_two_handlers_of_one_type_in_one_class_are_refused() -> None:
    """
    Only the last would be called. One of two names is one handler.
    """
    with pytest.raises(DeclarationError, match="Dog twice, in 'dog' and in 'again'"):

        class Twice(Zoo):
            @handles(Dog)
            def dog(self, message: Dog) -> str:
                return "dog"

            @handles(Puppy, Dog)
            def again(self, message: Dog) -> str:
                return "again"

    class Alias(Zoo):
        @handles(Dog)
        def wolf(self, message: Dog) -> str:
            return "wolf"

        hound = wolf

    assert ask(Alias(name="zoo"), Dog()) == ["wolf"]


def test_a_handler_may_need_no_component_or_only_its_class() -> None:
    """
    In whichever order it is decorated.
    """

    class Odd(Component):
        @staticmethod
        @handles(Animal)
        def animal(message: Animal) -> str:
            return "static"

        @handles(Dog)
        @classmethod
        def dog(cls, message: Dog) -> str:
            return cls.__name__

    assert ask(Odd(name="odd"), Animal(), Dog()) == ["static", "Odd"]


def test_each_component_has_handlers_of_its_own() -> None:
    """
    One that is added to one is not to be found in another of its class.
    """

    @attrs.frozen
    class Extra:
        """Handled by one of two."""

    with Runtime() as runtime:
        one, other = (runtime.add(Adder(name=name)) for name in ("one", "other"))
        one.send(Call(lambda me: me.set_handler(Extra, lambda message: "one")))

        assert one.send(Extra()) == "one"
        with pytest.raises(UnhandledMessageError):
            other.send(Extra())


def test_one_that_is_set_while_it_is_looked_for_is_found() -> None:
    """
    What was found before is not kept: the next message would get it as well.
    """

    class Slow(Handlers):
        """Somebody sets a handler at the end of the first search."""

        searched = 0

        def _search(self, kind: type, added: Any) -> Function:
            found = super()._search(kind, added)
            self.searched += 1
            if self.searched == 1:
                self.set(Get, lambda message: "new")
            return found

    handlers = Slow(Adder(name="adder"), "/app/adder", lambda message: None)

    assert handlers[Get](Get()) == "new"
    assert handlers[Get](Get()) == "new"
    assert handlers.searched == 2
