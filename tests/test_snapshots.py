"""What state is in bytes: equal for equal content, exact when brought back."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import decimal
import enum
import json
import math
import os
import pathlib
import pickle
import subprocess
import sys
import typing
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinesis.declared import Declared, field, fields_of, private, setting
from kinesis.declared.class_body import SAID_OF_ALL
from kinesis.errors import DeclarationError, InvalidStateError
from kinesis.snapshots import (
    MASK,
    Fault,
    Snapshot,
    check,
    check_config,
    codec_of,
)
from kinesis.stages import Stage, State
from tests.programs import UNMEASURED

T = TypeVar("T")
PATIENCE = 60.0  # seconds that another process may take


class Color(enum.Enum):
    """An enum."""

    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Rule:
    """A value."""

    above: float
    tags: tuple[str, ...] = ()
    color: Color = Color.RED


@attrs.define
class Span:
    """A value that can change, and refuses some."""

    first: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    rest: list[Span] = attrs.field(factory=list)


@attrs.frozen
class Pair(Generic[T]):
    """A generic value."""

    left: T
    right: T


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: float
    y: float = 0.0


class Shape(msgspec.Struct, frozen=True):
    """A Struct."""

    sides: int
    name: str = ""


class Options(typing.TypedDict, total=False):
    """A typed dict."""

    depth: typing.Required[int]
    label: str


class Spot(typing.NamedTuple):
    """A named tuple."""

    row: int
    column: int


class Hidden(msgspec.Struct, rename="camel"):
    """A Struct whose JSON form only msgspec knows."""

    some_name: int = 0


Small = typing.NewType("Small", int)


class Base(Declared):
    """Stands for Component."""

    name: str = setting(default="it")
    limit: int = setting(default=3)
    rule: Rule = setting(default=Rule(1.0))


class Nothing(Base):
    """No state at all."""


class One(Base):
    """One field."""

    count: int = 0


class Numbers(Base):
    """Only what cannot be changed in place, and needs no order."""

    count: int = 0
    ratio: float = 0.0
    maybe: float | None = None
    secret: str = field(default="hidden", secret=True)
    resource: object = private(default=None)


class Ordered(Base):
    """What msgspec can sort."""

    words: set[str] = field(factory=set)
    table: dict[str, list[float]] = field(factory=dict)
    rules: list[Rule] = field(factory=list)


class Wild(Base):
    """What only the canonical form can order."""

    by_number: dict[int, str] = field(factory=dict)
    mixed: set[int | str] = field(factory=set)
    sets: set[frozenset[int]] = field(factory=set)
    anything: Any = None
    queue: deque[int] = field(factory=deque)


class Rich(Base):
    """Every kind of type that state can have."""

    flag: bool = False
    text: str = ""
    raw: bytes = b""
    buffer: bytearray = field(factory=bytearray)
    day: datetime.date = datetime.date(2020, 2, 29)
    moment: datetime.datetime | None = None
    span: datetime.timedelta = datetime.timedelta(seconds=5)
    price: decimal.Decimal = decimal.Decimal("1.10")
    key: uuid.UUID = uuid.UUID(int=5)
    where: pathlib.PurePosixPath = pathlib.PurePosixPath("/x")
    color: Color = Color.RED
    choice: typing.Literal["a", "b"] = "a"
    pair: tuple[int, str] = (1, "x")
    several: tuple[int, ...] = ()
    spot: Spot = Spot(1, 2)
    point: Point = field(factory=lambda: Point(1.0))
    shape: Shape = Shape(3)
    spans: Span = field(factory=lambda: Span(1, [Span(2)]))
    generic: Pair[int] = Pair(1, 2)
    options: Options = field(factory=lambda: Options(depth=1))
    either: int | str = 5
    bounded: typing.Annotated[int, msgspec.Meta(ge=0)] = 0
    ordered: Sequence[int] = ()
    mapping: Mapping[str, int] = field(factory=dict)


class Odd(Base):
    """Types that are other types, and choices between them."""

    short: typing.Annotated[list[int], msgspec.Meta(max_length=2)] = field(factory=list)
    small: Small = Small(0)
    choice: list[int] | dict[str, int] | None = None
    one_or_many: Rule | list[Rule] = Rule(1.0)
    hidden: Hidden = field(factory=Hidden)
    any_tuple: tuple = ()  # type: ignore[type-arg]  # the point
    any_dict: dict = field(factory=dict)  # type: ignore[type-arg]  # the point
    points: dict[str, Point] = field(factory=dict)
    nothing: tuple[()] = ()
    hashed: set[tuple[int, ...]] = field(factory=set)
    paths: list[pathlib.Path] | None = None


def exact(value: Any) -> Any:
    """Return *value* so that only what is the same in content and types is equal."""
    kind = type(value).__name__
    if isinstance(value, dict):
        entries = [(exact(key), exact(each)) for key, each in value.items()]
        return kind, sorted(entries, key=repr)
    if isinstance(value, set | frozenset):
        return kind, sorted(map(exact, value), key=repr)
    if isinstance(value, list | tuple | deque):
        return kind, [exact(each) for each in value]
    return kind, repr(value)


def state_of(component: Declared) -> Any:
    """Return the state of *component*, made comparable."""
    names = codec_of(type(component)).fields
    return exact(
        {name: vars(component)[name] for name in names if name in vars(component)}
    )


def snapshot_of(component: Declared) -> Snapshot:
    """Return a snapshot of *component*."""
    codec = codec_of(type(component))
    return Snapshot(codec, "/app/it", Stage.STARTED, codec.encode(component))


def faults_of(cls: type, mapping: Any, *, partial: bool = True) -> list[str]:
    """Return the faults that `check` finds."""
    with pytest.raises(InvalidStateError) as error:
        check(cls, mapping, partial=partial, path="/app/it")
    return list(error.value.faults)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
floats = st.floats()
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=8,
)
rules = st.builds(
    Rule, floats, st.lists(texts, max_size=2).map(tuple), st.sampled_from(Color)
)
ordered = st.fixed_dictionaries(
    {
        "words": st.sets(texts, max_size=5),
        "table": st.dictionaries(texts, st.lists(floats, max_size=3), max_size=5),
        "rules": st.lists(rules, max_size=3),
    }
)
wild = st.fixed_dictionaries(
    {
        "by_number": st.dictionaries(st.integers(-99, 99), texts, max_size=5),
        "mixed": st.sets(st.integers(-9, 9) | texts, max_size=5),
        "sets": st.sets(st.frozensets(st.integers(0, 9), max_size=3), max_size=4),
        "anything": values,
        "queue": st.lists(st.integers(-9, 9), max_size=4).map(deque),
    }
)


def by_another_way(value: Any) -> Any:
    """Return equal content that was put together in another order."""
    if isinstance(value, dict):
        return {key: by_another_way(value[key]) for key in reversed(list(value))}
    if isinstance(value, set):
        grown = set(range(1000, 1100))
        grown.update(reversed(list(value)))
        return grown - set(range(1000, 1100)) if not value & grown - value else value
    if isinstance(value, list):
        return [by_another_way(each) for each in value]
    return copy.deepcopy(value)


# -- bytes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (Nothing, b"{}"),
        (One, b'{"count":0}'),
        (Numbers, b'{"count":0,"ratio":0.0,"maybe":null,"secret":"hidden"}'),
        (Ordered, b'{"words":[],"table":{},"rules":[]}'),
    ],
)
def test_state_is_a_json_object_of_the_fields_in_order(
    cls: type[Base], expected: bytes
) -> None:
    """
    No private attribute and no setting is in it.
    """
    codec = codec_of(cls)

    assert codec.encode(cls()) == expected
    assert codec_of(cls) is codec


@given(ordered | wild)
def test_equal_content_is_equal_bytes_whatever_way_it_was_made(
    content: dict[str, Any],
) -> None:
    """
    Sets and dicts that grew in another order, and in place, give the same ETag.
    """
    cls = Ordered if "words" in content else Wild
    codec = codec_of(cls)
    one = cls(**content)
    two = cls()
    for name, value in content.items():
        setattr(two, name, by_another_way(value))

    assert codec.encode(one) == codec.encode(two)
    assert snapshot_of(one).etag == snapshot_of(two).etag


@given(ordered)
def test_bytes_read_back_are_the_same_content(content: dict[str, Any]) -> None:
    """
    Also NaN and infinity, -0.0 and whole numbers; and their bytes are the same.
    """
    codec = codec_of(Ordered)
    first = codec.encode(Ordered(**content))
    read = codec.decode(first)

    assert exact(read) == exact(content)
    assert codec.encode(Ordered(**read)) == first


@given(wild)
def test_the_canonical_form_reads_back(content: dict[str, Any]) -> None:
    """
    Keys that are numbers are numbers again, and sets of sets are sets.
    """
    codec = codec_of(Wild)
    first = codec.encode(Wild(**content))
    read = codec.decode(first)

    assert exact(read) == exact(content)
    assert codec.encode(Wild(**read)) == first


def test_every_kind_of_type_reads_back() -> None:
    """
    With its type; a sequence comes back as a list.
    """
    component = Rich(moment=datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC))
    codec = codec_of(Rich)
    read = codec.decode(codec.encode(component))
    component.ordered = []

    assert exact(read) == state_of(component)


def test_the_same_content_has_the_same_etag_in_another_process() -> None:
    """
    Whatever the seed of its hashes.
    """
    code = (
        "from tests.test_snapshots import *\n"
        "print(snapshot_of(Ordered(words=set('abcdefgh'), table={'b': [1], 'a': []}))"
        ".etag, snapshot_of(Wild(mixed={*'abcdefgh', 1, 2}, anything={'x', 'y', 'z'},"
        " sets={frozenset('ab'), frozenset('cd')})).etag)"
    )
    root = pathlib.Path(__file__).parents[1]
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **UNMEASURED, "PYTHONHASHSEED": seed},
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(printed) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda it: setattr(it, "words", {"b"}),
        lambda it: it.words.add("c"),
        lambda it: it.table["k"].append(2.0),
        lambda it: it.table.update(k=[1]),
        lambda it: it.table.update(k=[-1.0]),
        lambda it: it.table.update(k=[True]),
        lambda it: it.rules.append(Rule(1.0)),
    ],
)
def test_the_etag_changes_with_any_content(change: Callable[[Ordered], object]) -> None:
    """
    Assigned, appended, nested; 1, 1.0 and True are not the same.
    """
    it = Ordered(words={"a"}, table={"k": [1.0]})
    before = snapshot_of(it).etag
    change(it)

    assert snapshot_of(it).etag != before


@pytest.mark.parametrize("name", ["resource", "limit", "undeclared"])
def test_what_is_no_state_does_not_change_the_etag(name: str) -> None:
    """
    Resources, settings and attributes that were never declared.
    """
    it = Numbers()
    before = snapshot_of(it).etag
    setattr(it, name, 99)

    assert snapshot_of(it).etag == before


@pytest.mark.parametrize(
    ("value", "written"),
    [(math.nan, b'"NaN"'), (math.inf, b'"Infinity"'), (-math.inf, b'"-Infinity"')],
)
def test_nan_is_kept_and_never_null(value: float, written: bytes) -> None:
    """
    In plain fields, in containers and inside values, beside a real None.
    """
    plain, nested = Numbers(ratio=value), Ordered(rules=[Rule(value)])

    assert written in codec_of(Numbers).encode(plain)
    assert b'"maybe":null' in codec_of(Numbers).encode(plain)
    assert snapshot_of(plain).ratio is not None
    assert repr(snapshot_of(plain).ratio) == repr(value)
    assert repr(snapshot_of(nested).rules[0].above) == repr(value)
    with pytest.raises(InvalidStateError, match="anything: NaN and infinity"):
        codec_of(Wild).encode(Wild(anything=[value]))


def test_values_that_have_no_form_in_json_are_all_named() -> None:
    """
    Not set, of no known type, text that is not Unicode, and what contains itself.
    """
    it = Rich(flag=typing.cast(bool, object()), text="\ud800")
    it.spans.rest.append(it.spans)
    del it.raw

    with pytest.raises(InvalidStateError) as error:
        codec_of(Rich).encode(it)

    named = [fault.partition(":")[0] for fault in error.value.faults]
    assert named == ["flag", "text", "raw", "spans"]


def test_two_keys_with_the_same_text_are_refused() -> None:
    """
    One of them would be lost.
    """
    with pytest.raises(InvalidStateError, match="two keys are both written '1'"):
        codec_of(Wild).encode(Wild(anything={1: "a", "1": "b"}))


def test_numbers_of_other_libraries_are_numbers() -> None:
    """
    A subclass of float or of str is taken for what it derives from.
    """

    class Float(float):
        """As those of array libraries."""

    class Text(str):
        """As those of template libraries."""

    it = Numbers(count=typing.cast(int, True), ratio=Float(1.5), secret=Text("x"))

    assert codec_of(Numbers).encode(it) == (
        b'{"count":true,"ratio":1.5,"maybe":null,"secret":"x"}'
    )
    assert snapshot_of(it).count is True  # not what the type says, but what was there


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Callable[[], int], "Callable"),
        (complex, "complex"),
        (list[object] | set[int], "more than one"),
        (OrderedDict[str, int], "OrderedDict"),
        (enum.Flag("Flags", "A B"), "Flag; use an int"),
        (list[complex], "complex"),
        (dict[str, complex | None], "complex"),
    ],
)
def test_a_type_without_a_form_in_json_is_refused(kind: Any, why: str) -> None:
    """
    When the class is first used, with its name, the field's, and what to write.
    """
    cls = type("Odd", (Base,), {"__annotations__": {"it": kind}})

    with pytest.raises(DeclarationError, match=rf"Odd\.it.*{why}.*private"):
        codec_of(cls)


def test_content_that_does_not_fit_names_every_fault() -> None:
    """
    As when the class has changed since it was stored.
    """
    codec = codec_of(Numbers)

    with pytest.raises(InvalidStateError) as error:
        codec.decode(b'{"count":"x","ratio":1,"old":2,"secret":5}')
    with pytest.raises(InvalidStateError, match="malformed|truncated"):
        codec.decode(b'{"count":')

    assert list(error.value.faults) == [
        "count: expected int, found str 'x'",
        "maybe: missing",
        "secret: expected str, found int",
        "old: unknown",
    ]


# -- transactions --------------------------------------------------------------------


@given(ordered, ordered)
def test_restore_brings_content_and_types_back(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    """
    After assignments and changes in place; also a second time.
    """
    it = Ordered(**copy.deepcopy(before))
    codec = codec_of(Ordered)
    saved, expected = codec.save(it), exact(before)
    for _ in range(2):
        it.words |= after["words"]
        it.table.clear()
        it.rules.extend(after["rules"])
        it.rules = after["rules"]
        codec.restore(it, saved)

        assert state_of(it) == expected


def test_restore_is_exact_where_json_is_not() -> None:
    """
    Whole numbers among floats, tuples in lists, NaN, the order of keys, aliases.
    """
    it = Wild(anything=[1, 1.0, True, (1, [2]), math.nan, {2: 1, 1: 2}, {3}, b"x"])
    it.anything.append(it.anything[3])
    before = state_of(it)
    saved = codec_of(Wild).save(it)
    it.anything[3][1].append(3)
    it.anything.pop()
    codec_of(Wild).restore(it, saved)

    assert state_of(it) == before
    assert list(it.anything[5]) == [2, 1]
    assert it.anything[-1] is it.anything[3]


def test_restore_leaves_everything_else_alone() -> None:
    """
    Resources, settings, the slot of the runtime, and undeclared attributes.
    """
    it = Numbers()
    saved = codec_of(Numbers).save(it)
    it._kinesis, it.resource, it.limit, it.count = "life", "open", 9, 5
    vars(it)["undeclared"] = 1
    codec_of(Numbers).restore(it, saved)

    assert (it._kinesis, it.resource, it.limit, it.count) == ("life", "open", 9, 0)
    assert vars(it)["undeclared"] == 1


@pytest.mark.parametrize("name", ["words", "table"])
def test_a_field_that_was_not_set_is_not_set_again(name: str) -> None:
    """
    Restoring also deletes, and brings back what was deleted.
    """
    codec = codec_of(Ordered)
    it = Ordered(rules=[Rule(1.0)])
    full = codec.save(it)
    delattr(it, name)
    partly = codec.save(it)
    setattr(it, name, None)
    it.rules.clear()
    codec.restore(it, partly)

    assert not hasattr(it, name)
    assert it.rules == [Rule(1.0)]

    codec.restore(it, full)

    assert hasattr(it, name)


def test_classes_that_pickle_cannot_find_are_copied() -> None:
    """
    Found once; after that pickle is not asked again.
    """

    @attrs.define
    class Local:
        items: list[int]

    cls = type("Holder", (Base,), {"__annotations__": {"it": Local}})
    component = cls(it=Local([1]))
    codec = codec_of(cls)
    for _ in range(2):
        saved = codec.save(component)
        component.it.items.append(2)
        codec.restore(component, saved)

        assert component.it == Local([1])


def test_state_that_cannot_be_copied_is_named() -> None:
    """
    With the advice to declare it as a resource.
    """
    it = Wild(anything=(number for number in [1]))

    with pytest.raises(InvalidStateError, match=r"Wild aside.*private\("):
        codec_of(Wild).save(it)


# -- snapshots -----------------------------------------------------------------------


def test_a_snapshot_says_what_and_where_it_is() -> None:
    """
    The state fields are attributes beside it.
    """
    snapshot = snapshot_of(Numbers(count=5, ratio=0.5))

    assert (snapshot.path, snapshot.name, snapshot.type) == ("/app/it", "it", "Numbers")
    assert (snapshot.stage, snapshot.state) == (Stage.STARTED, State.ACTIVE)
    assert (snapshot.count, snapshot["ratio"]) == (5, 0.5)
    assert snapshot.fields() == {
        "count": 5,
        "ratio": 0.5,
        "maybe": None,
        "secret": "hidden",
    }
    assert {"count", "etag"} <= set(dir(snapshot))
    with pytest.raises(AttributeError, match="no 'nope'. Fields: count, ratio"):
        _ = snapshot.nope
    with pytest.raises(AttributeError):
        _ = snapshot.resource


def test_nothing_changes_a_snapshot() -> None:
    """
    Not the component, not an assignment, not a change to a value it gave.
    """
    it = Ordered(words={"a"}, table={"k": [1.0]})
    snapshot = snapshot_of(it)
    before = snapshot.etag
    it.words.add("b")
    snapshot.words.add("c")
    snapshot.table["k"].append(2.0)
    snapshot.fields()["words"].clear()

    assert (snapshot.words, snapshot.table) == ({"a"}, {"k": [1.0]})
    assert snapshot.etag == before
    with pytest.raises(AttributeError):
        snapshot.words = set()  # type: ignore[attr-defined]  # the point
    with pytest.raises(AttributeError):
        snapshot.etag = ""  # type: ignore[misc]  # the point


def test_json_has_the_fields_after_what_all_snapshots_say() -> None:
    """
    Secrets are masked unless somebody asks.
    """
    snapshot = snapshot_of(Numbers(count=5))
    shown = json.loads(snapshot.to_json())
    head = {
        "name": "it",
        "path": "/app/it",
        "type": "Numbers",
        "stage": "STARTED",
        "state": "ACTIVE",
        "etag": snapshot.etag,
    }

    assert list(shown) == [*head, "count", "ratio", "maybe", "secret"]
    assert shown.items() >= head.items()
    assert shown["secret"] == MASK
    assert json.loads(snapshot.to_json(mask_secrets=False))["secret"] == "hidden"
    assert json.loads(snapshot_of(Nothing()).to_json())["type"] == "Nothing"


def test_a_snapshot_prints_as_a_line_of_a_log() -> None:
    """
    No secret in it, and long values cut.
    """
    line = repr(snapshot_of(Numbers(count=5)))
    long = repr(snapshot_of(Wild(anything="x" * 500)))

    assert line == (
        f"<Snapshot /app/it [STARTED | ACTIVE] Numbers "
        f"count=5 ratio=0.0 maybe=None secret={MASK}>"
    )
    assert len(long) < 250


def test_snapshots_with_the_same_content_are_equal() -> None:
    """
    They are values: hashed, copied and pickled as such.
    """
    one, two = snapshot_of(Numbers(count=5)), snapshot_of(Numbers(count=5))

    assert one == two
    assert len({one, two}) == 1
    assert one != snapshot_of(Numbers(count=6))
    assert one != "something else"
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one


def test_no_state_can_have_a_name_that_snapshots_use() -> None:
    """
    So every state field can be an attribute of the snapshot, and a key beside it.
    """
    assert {name for name in vars(Snapshot) if not name.startswith("_")} == SAID_OF_ALL


@pytest.mark.parametrize("asked_before", [True, False])
def test_a_snapshot_in_another_stage_has_the_same_content(asked_before: bool) -> None:
    """
    And the same ETag, whether or not it had been computed.
    """
    snapshot = snapshot_of(Numbers(count=5))
    if asked_before:
        _ = snapshot.etag
    moved = snapshot.moved_to(Stage.STOPPED)

    assert (moved.stage, moved.state) == (Stage.STOPPED, State.INACTIVE)
    assert (moved.content, moved.etag) == (snapshot.content, snapshot.etag)
    assert moved != snapshot


# -- checks --------------------------------------------------------------------------


def test_check_returns_typed_values_of_their_own() -> None:
    """
    From JSON-like data or typed values; nothing is shared with what was given.
    """
    given_rules = [{"above": 1, "tags": ["x"], "color": "blue"}, Rule(2.0)]
    typed = {"words": {"a"}, "table": {"k": [1]}, "rules": given_rules}
    found = check(Ordered, typed, partial=False)
    typed["words"].add("b")  # type: ignore[attr-defined]  # a set

    assert found["words"] == {"a"}
    assert exact(found["rules"]) == exact([Rule(1.0, ("x",), Color.BLUE), Rule(2.0)])
    assert exact(found["table"]) == exact({"k": [1.0]})
    assert check(Ordered, {}, partial=True) == {}


@pytest.mark.parametrize("mode", ["json", "typed"])
def test_check_takes_what_the_codec_wrote(mode: str) -> None:
    """
    Every kind of type, as JSON and as the values themselves.
    """
    component = Rich(moment=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC))
    codec = codec_of(Rich)
    content = codec.encode(component)
    data = json.loads(content) if mode == "json" else codec.decode(content)
    found = check(Rich, data, partial=False)

    assert exact(found) == exact(codec.decode(content))


def test_check_names_every_fault() -> None:
    """
    Unknown keys with the nearest word, wrong types with what was found, at any depth.
    """
    faults = faults_of(
        Ordered,
        {
            "wrods": 1,
            "words": ["a", 1, None],
            "table": {"k": ["x", True], "l": 5},
            "rules": [{"abov": 1}, {"above": 1, "color": "green"}, 7],
            "limit": 1,
        },
    )

    assert faults == [
        "wrods: unknown. Did you mean 'words'? Known: words, table, rules",
        "words[1]: expected str, found int 1",
        "words[2]: expected str, found None",
        "table.k[0]: expected float, found str 'x'",
        "table.k[1]: expected float, found bool True",
        "table.l: expected list[float], found int 5",
        "rules[0].abov: unknown. Did you mean 'above'? Known: above, tags, color",
        "rules[0].above: missing (expected float)",
        "rules[1].color: expected 'red' or 'blue', found str 'green'",
        "rules[2]: expected Rule, found int 7",
        "limit: is a setting, not state: only the constructor takes it",
    ]


@pytest.mark.parametrize(
    ("cls", "given", "expected"),
    [
        (Rich, {"pair": [1]}, "pair: expected 2 items, found 1"),
        (Rich, {"pair": ["x", "y"]}, "pair[0]: expected int, found str 'x'"),
        (Rich, {"choice": "c"}, "choice: expected 'a' or 'b', found str 'c'"),
        (Rich, {"either": 1.5}, "either: expected int or str, found float 1.5"),
        (Rich, {"bounded": -1}, "bounded: expected int >= 0, found int -1"),
        (Rich, {"spans": {"first": -1}}, "spans: 'first' must be >= 0: -1"),
        (Rich, {"spans": Span(1, [3])}, "spans.rest[0]: expected Span, found int 3"),  # type: ignore[list-item]  # the point
        (Rich, {"generic": {"left": 1, "right": "x"}}, "generic.right: expected int"),
        (
            Rich,
            {"options": {"depth": 1, "label": 5}},
            "options.label: expected str, found int 5",
        ),
        (Rich, {"options": {}}, "options.depth: missing (expected int)"),
        (Rich, {"point": {"z": 1, "x": 1}}, "point.z: unknown. Known: x, y"),
        (Rich, {"shape": {"sides": "x"}}, "shape.sides: expected int, found str 'x'"),
        (Rich, {"where": 5}, "where: expected PurePosixPath, found int 5"),
        (Rich, {"flag": 1}, "flag: expected bool, found int 1"),
        (Rich, {"day": "soon"}, "day: invalid RFC3339 encoded date, found str 'soon'"),
        (Rich, {"text": None}, "text: expected str, found None"),
        (Wild, {"by_number": {"x": "y"}}, "by_number.x: expected int as a key"),
        (Wild, {"sets": [[1], ["x"]]}, "sets[1][0]: expected int, found str 'x'"),
        (Wild, {"queue": [1, "x"]}, "queue[1]: expected int, found str 'x'"),
        (Wild, {"anything": object()}, "anything: expected Any, found object"),
        (Numbers, {"ratio": math.nan}, "ratio: NaN and infinity are not accepted"),
        (Numbers, {"maybe": math.inf}, "maybe: NaN and infinity are not accepted"),
        (Numbers, {"ratio": "NaN"}, "ratio: expected float, found str 'NaN'"),
        (Wild, {"anything": [math.nan]}, "anything: NaN and infinity are not accepted"),
        (Numbers, {"secret": 12345}, "secret: expected str, found int"),
        (Numbers, {"resource": 1}, "resource: is private to the component"),
        (Numbers, {5: 1}, "5: unknown. Known: count, ratio, maybe, secret"),
        (Numbers, 5, "expected values by field, found int"),
        (One, {"count": "y" * 99}, f"count: expected int, found str '{'y' * 38}…"),
    ],
)
def test_a_fault_says_what_was_expected_and_found(
    cls: type, given: Any, expected: str
) -> None:
    """
    In words for who wrote the data; a secret is never quoted.
    """
    [fault] = faults_of(cls, given)

    assert fault.startswith(expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"short": [1, 2]}, {"short": [1, 2]}),
        ({"short": [1, 2, 3]}, "short: expected array of length <= 2, found list"),
        ({"short": ["x"]}, "short[0]: expected int, found str 'x'"),
        ({"small": 5}, {"small": 5}),
        ({"small": "x"}, "small: expected int, found str 'x'"),
        ({"choice": None}, {"choice": None}),
        ({"choice": [1]}, {"choice": [1]}),
        ({"choice": ["x"]}, "choice[0]: expected int, found str 'x'"),
        ({"choice": {"a": 1}}, {"choice": {"a": 1}}),
        ({"choice": 5}, "choice: expected list[int] or dict[str, int] or None, found"),
        ({"one_or_many": {"above": 2}}, {"one_or_many": Rule(2.0)}),
        ({"one_or_many": [{"above": 2}]}, {"one_or_many": [Rule(2.0)]}),
        ({"one_or_many": [{"abov": 2, "above": 1}]}, "one_or_many[0].abov: unknown"),
        ({"hidden": {"someName": 5}}, {"hidden": Hidden(5)}),
        ({"hidden": {"someName": "x"}}, "hidden: expected Hidden, found dict"),
        ({"any_tuple": [1, "x"]}, {"any_tuple": (1, "x")}),
        ({"any_dict": {"a": [1]}}, {"any_dict": {"a": [1]}}),
        ({"points": {"a": Point(1.0)}}, {"points": {"a": Point(1.0)}}),
        ({"points": {5: {"x": 1.0}}}, "points[5]: expected str, found int 5"),
        ({"nothing": []}, {"nothing": ()}),
        ({"nothing": [1]}, "nothing: expected 0 items, found 1"),
        ({"hashed": [[1, 2], [1, 2]]}, {"hashed": {(1, 2)}}),
        ({"paths": ["/x"]}, {"paths": [pathlib.Path("/x")]}),
    ],
)
def test_types_that_are_choices_or_other_types_are_read(
    given: dict[str, Any], expected: Any
) -> None:
    """
    By the only choice that the value can be, down to its parts; else as a whole.
    """
    if isinstance(expected, str):
        [fault] = faults_of(Odd, given)

        assert fault.startswith(expected)
    else:
        assert exact(check(Odd, given, partial=True)) == exact(expected)


def test_missing_fields_are_faults_of_a_whole_state() -> None:
    """
    All state fields, whether or not they have a default.
    """
    faults = faults_of(Numbers, {"count": 1, "maybe": None}, partial=False)

    assert faults == [
        "ratio: missing (expected float)",
        "secret: missing (expected str)",
    ]


def test_the_error_names_the_path_and_that_nothing_changed() -> None:
    """
    Its parts are attributes.
    """
    with pytest.raises(InvalidStateError) as error:
        check(One, {"count": "x"}, partial=True, path="/app/one")

    assert str(error.value) == (
        "these values do not fit the state of '/app/one': "
        "count: expected int, found str 'x'. Nothing was changed."
    )
    assert error.value.path == "/app/one"


@given(
    st.dictionaries(
        st.sampled_from([*fields_of(Numbers), "_kinesis", "__dict__", "conut"]),
        st.integers(-5, 5) | st.text(max_size=3) | st.none(),
    )
)
def test_outside_data_sets_state_and_nothing_else(data: dict[str, Any]) -> None:
    """
    Whatever the keys: either all are state and fit, or each fault is named.
    """

    def fits(name: str, value: Any) -> bool:
        return {
            "count": isinstance(value, int),
            "ratio": isinstance(value, int),
            "maybe": isinstance(value, int | None),
            "secret": isinstance(value, str),
        }.get(name, False)

    wrong = [name for name, value in data.items() if not fits(name, value)]
    if wrong:
        assert [fault.partition(":")[0] for fault in faults_of(Numbers, data)] == wrong
    else:
        assert check(Numbers, data, partial=True) == data


def test_check_config_takes_state_and_settings() -> None:
    """
    Values are made by their own constructors; nothing is raised for a fault.
    """
    values, faults = check_config(One, {"name": "x", "rule": {"above": 2}, "count": 3})

    assert exact(values) == exact({"name": "x", "rule": Rule(2.0), "count": 3})
    assert faults == ()


def test_check_config_says_where_each_fault_is() -> None:
    """
    The path leads through the data, to the value that is wrong.
    """

    class Alarm(Base):
        rules: list[Rule]
        resource: object = private(default=None)

    values, faults = check_config(
        Alarm,
        {"limit": 5, "rules": [{"above": 1}, {"above": "x"}], "resource": 1, "nam": 1},
    )
    missing = check_config(Alarm, {})[1]

    assert values == {"limit": 5}
    assert [each.path for each in faults] == [
        ("rules", 1, "above"),
        ("resource",),
        ("nam",),
    ]
    assert faults[0].where == "rules[1].above"
    assert missing == (Fault(("rules",), "missing (expected list[Rule])"),)
