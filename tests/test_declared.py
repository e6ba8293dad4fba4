"""How component classes are declared, and what is refused with which advice."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis.declared import (
    HOOKS,
    Declared,
    FieldInfo,
    field,
    fields_of,
    private,
    setting,
)
from kinesis.errors import ComponentCopyError, DeclarationError

if TYPE_CHECKING:
    from socket import socket

T = TypeVar("T")
U = TypeVar("U")


class Base(Declared):
    """Stands for Component: it has a setting, a hook and a property."""

    name: str = setting()
    limit: int = setting(default=3)

    def start(self) -> None:
        """A hook."""

    def helper(self) -> None:
        """A method."""

    @property
    def where(self) -> str:
        """A property."""
        return f"/{self.name}"


class Counter(Base):
    """A plain one."""

    count: int = 0
    tags: list[str] = field(factory=list)
    token: str = field(default="", persist=False, secret=True)
    connection: socket = private()  # a name that only type checkers know
    _cache: dict[str, int] = private(factory=dict)
    LIMITS: ClassVar[tuple[int, int]] = (0, 9)
    step = 2


class Node(Base):
    """Its type names a class that comes later."""

    next: Later | None = None


class Later:
    """Comes later."""


class Box(Base, Generic[T]):
    """A generic one."""

    value: T
    more: list[T] = field(factory=list)


class Boxes(Box[list[U]], Generic[U]):
    """The same type variable's name stands for something else here."""


class WordBoxes(Boxes[str]):
    """All type variables are known."""


def kinds(cls: type) -> dict[str, str]:
    """Return the kind of each field."""
    return {name: each.kind for name, each in fields_of(cls).items()}


def advice(error: pytest.ExceptionInfo[DeclarationError]) -> str:
    """Return what the error says to write."""
    return str(error.value).partition("Write ")[2]


# -- what a class becomes --------------------------------------------------------


def test_a_class_is_an_attrs_class_by_being_written() -> None:
    """
    Arguments are keywords, factories make a new value for each, resources are none.
    """
    one, two = Counter(name="one", count=5), Counter(name="two")
    one.tags.append("x")

    assert "__attrs_attrs__" in vars(Counter)
    assert (one.count, one.tags, one.limit) == (5, ["x"], 3)
    assert (two.count, two.tags, two._cache) == (0, [], {})
    with pytest.raises(TypeError, match="connection"):
        Counter(name="x", connection=None)  # type: ignore[call-arg]  # the point
    with pytest.raises(TypeError, match="positional"):
        Counter("x")  # type: ignore[call-arg]  # the point


def test_fields_say_their_kind_type_and_options() -> None:
    """
    In the order of declaration, those of the base first, with resolved types.
    """
    fields = fields_of(Counter)

    assert kinds(Counter) == {
        "name": "setting",
        "limit": "setting",
        "count": "state",
        "tags": "state",
        "token": "state",
        "connection": "private",
        "_cache": "private",
    }
    assert fields["tags"].type == list[str]
    assert fields["count"] == FieldInfo("count", int, "state", True, False, 0)
    assert (fields["token"].persist, fields["token"].secret) == (False, True)
    assert (fields["name"].has_default, fields["tags"].has_default) == (False, True)
    assert fields_of(Counter) is fields


def test_a_private_without_default_does_not_exist_until_it_is_assigned() -> None:
    """
    So a resource that init opens needs no stand-in of another type.
    """
    counter = Counter(name="c")

    with pytest.raises(AttributeError):
        _ = counter.connection
    counter.connection = typing.cast("socket", "open")

    assert counter.connection == "open"  # type: ignore[comparison-overlap]  # a stand-in


def test_nothing_runs_when_a_field_is_read_or_set() -> None:
    """
    No hook on assignment, no property: a field is an entry of the ``__dict__``.
    """
    counter = Counter(name="c")

    assert Counter.__setattr__ is object.__setattr__
    assert Counter.__getattribute__ is object.__getattribute__
    assert not set(fields_of(Counter)) & set(dir(Counter))
    assert counter.__dict__["count"] == 0


def test_the_pointer_of_the_runtime_survives_an_empty_dict() -> None:
    """
    It lives in a slot.
    """
    counter = Counter(name="c")
    counter._kinesis = life = object()
    counter.__dict__.clear()

    assert counter._kinesis is life


def test_what_is_not_state_stays_a_class_attribute() -> None:
    """
    ClassVar in any spelling, and what has no annotation.
    """

    class Spelled(Base):
        one: ClassVar[int] = 1
        two: typing.ClassVar[int] = 2
        three: ClassVar = 3
        four = 4

    assert list(fields_of(Spelled)) == ["name", "limit"]
    assert (Spelled.one, Spelled.two, Spelled.three, Spelled.four) == (1, 2, 3, 4)


def test_an_assignment_in_a_subclass_is_the_new_default() -> None:
    """
    Without annotation, for settings, state and resources of any base.
    """

    class Eager(Counter):
        limit = 9
        count = 7
        connection = typing.cast("socket", None)

    class Named(Eager):
        name = "named"

    assert (Eager(name="e").limit, Eager(name="e").count) == (9, 7)
    assert Eager(name="e", limit=1).limit == 1
    assert Eager(name="e").connection is None
    assert Named().name == "named"  # type: ignore[call-arg]  # checkers want the name still
    assert kinds(Named) == kinds(Counter)
    assert fields_of(Named)["limit"].type is int
    assert Counter(name="c").limit == 3


def test_an_annotated_override_keeps_kind_and_options() -> None:
    """
    A setting does not become state by being written again, nor a secret public.
    """

    class Renamed(Counter):
        name: str = "renamed"
        token: str = "t"
        connection: Any = None

    fields = fields_of(Renamed)

    assert Renamed().name == "renamed"
    assert fields["name"].kind == "setting"
    assert (fields["token"].secret, fields["token"].persist) == (True, False)
    assert fields["connection"].kind == "private"


def test_a_subclass_of_a_subclass_has_all_the_fields() -> None:
    """
    The constructor takes them from every level; a mixin's methods are there.
    """

    class Loud:
        def shout(self) -> str:
            return str(getattr(self, "name", "")).upper()

    class More(Loud, Counter):
        extra: int

    class Most(More):
        last: str = "z"

    most = Most(name="m", extra=1, count=2)

    assert (most.extra, most.count, most.last, most.shout()) == (1, 2, "z", "M")


def test_annotations_of_a_mixin_are_no_fields() -> None:
    """
    A plain class only promises that somebody sets the attribute.
    """

    class Sized:
        size: int

    class Both(Base, Sized):
        count: int = 0

    assert "size" not in fields_of(Both)


def test_an_own_init_calls_the_attrs_init() -> None:
    """
    What it does not pass on keeps its default.
    """

    class Port(Base):
        number: int = 0

        def __init__(self, device: str) -> None:
            self.__attrs_init__(name=device, number=5)

    port = Port("tty0")

    assert (port.name, port.number, port.limit) == ("tty0", 5, 3)


def test_components_are_equal_only_to_themselves() -> None:
    """
    They have an identity; so they can be in sets.
    """
    one, two = Counter(name="c"), Counter(name="c")

    assert one != two
    assert len({one, two, one}) == 2


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_component_is_never_copied(make: Callable[[object], object]) -> None:
    """
    The error says to take a snapshot.
    """
    with pytest.raises(ComponentCopyError, match=r"snapshot\(\)"):
        make(Counter(name="c"))


def test_options_of_the_class_statement_go_to_the_next_base() -> None:
    """
    Declared takes none itself.
    """
    with pytest.raises(TypeError, match="no keyword"):
        type("Odd", (Base,), {}, nope=1)


# -- types -------------------------------------------------------------------------


def test_types_may_name_what_comes_later() -> None:
    """
    They are resolved at first use.
    """
    assert fields_of(Node)["next"].type == Later | None


def test_types_may_name_what_is_local_to_a_function() -> None:
    """
    Also from a class inside a class, and the class itself.
    """

    class Item:
        pass

    class Outer:
        class Holder(Base):
            items: list[Item] = field(factory=list)

    class Tree(Base):
        parent: Tree | None = None

    assert fields_of(Outer.Holder)["items"].type == list[Item]
    assert fields_of(Tree)["parent"].type == Tree | None


def test_type_variables_are_replaced_by_what_a_subclass_gives() -> None:
    """
    Through several generic bases that use one another's.
    """
    assert fields_of(Box)["value"].type is T
    assert fields_of(Boxes)["value"].type == list[U]  # type: ignore[valid-type]  # at run time
    assert fields_of(WordBoxes)["value"].type == list[str]
    assert fields_of(WordBoxes)["more"].type == list[list[str]]
    assert Box[int](name="b", value=3).value == 3


@pytest.mark.skipif(sys.version_info < (3, 12), reason="its syntax is from 3.12")
def test_type_parameters_in_the_class_statement_work() -> None:
    """
    The new way to write a generic class.
    """
    names: dict[str, Any] = {"Base": Base, "__name__": __name__}
    exec("class New[T](Base):\n    value: 'list[T]'\nclass Ints(New[int]): pass", names)

    assert fields_of(names["Ints"])["value"].type == list[int]


def test_a_type_that_cannot_be_found_is_named() -> None:
    """
    With the class, the field and where to import it. Only resources may have one.
    """

    class Lost(Base):
        thing: Nowhere  # type: ignore[name-defined]  # noqa: F821  # the point

    with pytest.raises(DeclarationError, match=r"Lost.thing.*Nowhere.*Import"):
        fields_of(Lost)
    assert fields_of(Counter)["connection"].type is Any


# -- what is refused -----------------------------------------------------------------


def test_a_bare_underscore_annotation_is_refused() -> None:
    """
    attrs and type checkers would disagree about its argument.
    """
    with pytest.raises(DeclarationError, match="Odd._x") as error:

        class Odd(Base):
            _x: int = 0

    assert advice(error) == "private(default=...) instead."
    assert (error.value.field, error.value.component.__name__) == ("_x", "Odd")  # type: ignore[attr-defined]  # parts


@pytest.mark.parametrize(
    ("default", "factory"),
    [([], "list"), ({}, "dict"), (set(), "set"), ([1], "lambda: [1]")],
    ids=repr,
)
@pytest.mark.parametrize(
    ("specifier", "name"),
    [(None, "field"), (field, "field"), (private, "private"), (setting, "setting")],
)
def test_a_default_that_all_would_share_is_refused(
    default: Any, factory: str, specifier: Any, name: str
) -> None:
    """
    Whatever declares it; the advice has the right factory.
    """
    value = default if specifier is None else specifier(default=default)
    with pytest.raises(DeclarationError, match=r"Odd\.tags") as error:
        type("Odd", (Base,), {"__annotations__": {"tags": object}, "tags": value})

    assert advice(error) == f"{name}(factory={factory}) instead."


def test_a_new_default_that_all_would_share_is_refused() -> None:
    """
    An override without annotation is no way around it.
    """
    with pytest.raises(DeclarationError, match=r"field\(factory=list\)"):

        class Odd(Counter):
            tags = []  # the point


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_field_with_the_name_of_a_hook_is_refused(hook: str) -> None:
    """
    It would silently replace the hook, whether or not a base has code for it.
    """
    with pytest.raises(DeclarationError, match=f"'{hook}' is a hook"):
        type("Odd", (Base,), {"__annotations__": {hook: int}, hook: 0})


async def waits(_: object) -> None:
    """Be a coroutine function."""


def yields(_: object) -> Iterator[None]:
    """Be a generator."""
    yield


async def yields_and_waits(_: object) -> AsyncIterator[None]:
    """Be both."""
    yield


@pytest.mark.parametrize("function", [waits, yields, yields_and_waits, partial(waits)])
@pytest.mark.parametrize("name", sorted({*HOOKS, "restart_after", "default_handler"}))
def test_code_of_which_a_call_runs_nothing_is_refused(
    name: str, function: object
) -> None:
    """
    A component would be STARTED, and nothing of its `start` would ever run.
    """
    with pytest.raises(DeclarationError, match=f"Odd.{name}' is .* runs none of it"):
        type("Odd", (Base,), {name: function})
    mixin = type("Mixin", (), {name: staticmethod(function)})
    with pytest.raises(DeclarationError, match="Write a plain function"):
        type("Mixed", (mixin, Base), {})


@pytest.mark.parametrize("name", ["helper", "where"])
def test_a_field_that_hides_a_method_or_property_is_refused(name: str) -> None:
    """
    The error says whose.
    """
    with pytest.raises(DeclarationError, match=f"hides Base.{name}"):
        type("Odd", (Base,), {"__annotations__": {name: int}, name: 0})


def test_a_method_that_hides_a_field_is_refused() -> None:
    """
    Of the same class, of a base, or from a mixin.
    """
    with pytest.raises(DeclarationError, match="a field and a method at once"):

        class Hiding(Counter):
            def count(self) -> int:  # type: ignore[misc, override]  # the point
                return 1

    with pytest.raises(DeclarationError, match="a field and a method at once"):

        class Property(Counter):
            @property  # type: ignore[misc]  # the point
            def count(self) -> int:  # type: ignore[override]  # the point
                return 1

    class Mixin:
        def count(self) -> int:
            return 1

    with pytest.raises(DeclarationError, match=r"hides .*Mixin\.count"):
        type("Mixed", (Mixin, Counter), {})


def test_a_function_may_be_the_default_of_a_resource() -> None:
    """
    Only a function written in the class under that name is a method.
    """

    class Caller(Base):
        call: Callable[[str], object] = private(default=print)

    class Sorted(Caller):
        call = sorted

    assert Sorted(name="s").call is sorted


def test_a_specifier_without_annotation_is_refused() -> None:
    """
    attrs would ignore the other fields' annotations too.
    """
    with pytest.raises(DeclarationError, match="no annotation"):

        class Odd(Base):
            count = field(default=0)


@pytest.mark.parametrize("foreign", [attrs.field, dataclasses.field])
def test_a_field_of_another_library_is_refused(foreign: Callable[..., Any]) -> None:
    """
    It says nothing of whether it is state.
    """
    with pytest.raises(DeclarationError, match="another library"):
        type("Odd", (Base,), {"__annotations__": {"x": int}, "x": foreign(default=0)})


def test_a_field_does_not_change_its_kind() -> None:
    """
    What is a setting for the base's code cannot be state for a subclass.
    """
    with pytest.raises(DeclarationError, match=r"setting\(\) in a base"):

        class Odd(Base):
            limit: int = field(default=1)


@pytest.mark.parametrize("name", ["stage", "state", "etag", "type", "fields"])
def test_state_with_a_name_that_snapshots_use_is_refused(name: str) -> None:
    """
    In JSON both would be the same key; a resource may have it.
    """
    with pytest.raises(DeclarationError, match="every snapshot has"):
        type("Odd", (Base,), {"__annotations__": {name: int}, name: 0})

    cls = type("Fine", (Base,), {"__annotations__": {name: int}, name: private()})
    assert kinds(cls)[name] == "private"


@pytest.mark.parametrize(
    "decorator",
    [
        attrs.define,
        attrs.define(slots=False),
        attrs.frozen,
        attrs.frozen(slots=False),
        attrs.mutable(eq=False),
        dataclasses.dataclass(slots=True),
    ],
)
def test_a_second_decorator_is_refused(decorator: Any) -> None:
    """
    It would make a second class, or another constructor.
    """
    with pytest.raises(DeclarationError, match="Remove the attrs or dataclass"):

        @decorator
        class Odd(Base):
            count: int = 0


def test_a_dataclass_decorator_is_refused_at_first_use() -> None:
    """
    It tells nobody that it has changed the class.
    """

    @dataclasses.dataclass
    class Odd(Base):
        count: int

    with pytest.raises(DeclarationError, match="Remove the attrs or dataclass"):
        fields_of(Odd)


def test_fields_in_a_mixin_that_is_no_component_are_refused() -> None:
    """
    They would be no fields, in silence.
    """

    class Sized:
        size: int = field(default=0)

    with pytest.raises(DeclarationError, match=r"Sized\.size.*no component"):
        type("Odd", (Sized, Base), {})


def test_a_default_and_a_factory_at_once_are_refused() -> None:
    """
    When the specifier is called.
    """
    with pytest.raises(DeclarationError, match="Write one of them"):
        field(default=0, factory=int)  # type: ignore[call-overload]  # the point


@given(
    st.dictionaries(
        st.sampled_from(["alpha", "beta", "gamma", "delta", "size", "list"]),
        st.tuples(st.sampled_from([field, private, setting]), st.integers()),
    )
)
def test_any_class_is_what_its_specifiers_say(declared: dict[str, Any]) -> None:
    """
    Kinds, defaults and arguments of the constructor, for any mix of specifiers.
    """
    body = {name: make(default=default) for name, (make, default) in declared.items()}
    cls = type("Some", (Base,), {"__annotations__": dict.fromkeys(body, int), **body})
    words = {field: "state", private: "private", setting: "setting"}
    expected = {name: words[make] for name, (make, _) in declared.items()}
    given_ones = {name: "given" for name in declared if expected[name] != "private"}

    assert {n: k for n, k in kinds(cls).items() if n in declared} == expected
    assert vars(cls(name="x")) == {
        "name": "x",
        "limit": 3,
        **{name: default for name, (_, default) in declared.items()},
    }
    assert vars(cls(name="x", **given_ones)).items() >= given_ones.items()
    for name in set(declared) - set(given_ones):
        with pytest.raises(TypeError, match=name):
            cls(name="x", **{name: 1})
