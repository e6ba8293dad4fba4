"""YAML becomes nodes that know their places; nothing else comes out of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from kinesis.config.nodes import (
    Faults,
    Items,
    Leaf,
    Node,
    Table,
    follow,
    key_place,
    plain,
    show_value,
)
from kinesis.config.reading import MOST_BYTES, read

NONE: Mapping[str, str] = {}


def read_text(
    text: str | bytes, environ: Mapping[str, str] = NONE
) -> tuple[Node | None, list[str]]:
    """Read *text*; return the node, and each fault without the file's name."""
    data = text if isinstance(text, bytes) else text.encode()
    faults = Faults()
    node = read(data, "f", environ, faults)
    lines = str(faults.error()).splitlines()
    return node, [line.removeprefix("f:") for line in lines]


def value_of(text: str, environ: Mapping[str, str] = NONE) -> object:
    """Return what *text*, which has no fault, says."""
    node, faults = read_text(text, environ)

    assert faults == []

    return None if node is None else plain(node)


def faults_of(text: str | bytes, environ: Mapping[str, str] = NONE) -> list[str]:
    """Return the faults of *text*."""
    return read_text(text, environ)[1]


@pytest.fixture(params=["C", "Python"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with the parser in C and with the one in Python."""
    if request.param == "Python":
        monkeypatch.delattr(yaml, "CSafeLoader")
    return str(request.param)


# -- what scalars mean -----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("-12", -12),
        ("+3", 3),
        ("010", 10),
        ("0o17", 15),
        ("0x1f", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("2.", 2.0),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("off", "off"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-31", "2024-01-31"),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        ("=", "="),
    ],
)
def test_plain_scalars_are_typed_as_yaml_1_2_says(text: str, expected: object) -> None:
    """
    What was text in YAML 1.2 and something else in 1.1 is text.
    """
    if text == "-":
        text = "'-'"  # alone it would begin a list
    value = value_of(f"a: {text}")

    assert value == {"a": expected}
    assert isinstance(value, dict)
    assert type(value["a"]) is type(expected)


def test_not_a_number_is_read_as_such() -> None:
    """
    Whether a field may have it is not for the reader to say.
    """
    value = value_of("[.nan]")

    assert repr(value) == "[nan]"


def test_quoted_scalars_and_blocks_stay_text() -> None:
    """
    Quotes are how a file says that digits are text.
    """
    text = "a: '1'\nb: \"true\"\nc: |\n  2\nd: >-\n  ~\n"

    assert value_of(text) == {"a": "1", "b": "true", "c": "2\n", "d": "~"}


def test_a_number_of_too_many_digits_is_a_fault() -> None:
    """
    Python would refuse to read it with an error of its own.
    """
    assert faults_of(f"a: {'1' * 5000}") == [
        "1:4: expected a number that a field can hold; got one of 5000 digits."
    ]


# -- environment variables ---------------------------------------------------------


def test_variables_are_typed_after_they_are_put_in_unless_quoted() -> None:
    """
    A plain ``${PORT}`` is a number, a quoted one is text.
    """
    text = "a: ${PORT}\nb: '${PORT}'\nc: h-${PORT}\nd: |\n  ${PORT}\ne: 1${PORT}\n"

    assert value_of(text, {"PORT": "80"}) == {
        "a": 80,
        "b": "80",
        "c": "h-80",
        "d": "80\n",
        "e": 180,
    }


def test_a_default_stands_in_for_a_variable_that_is_not_set_or_empty() -> None:
    """
    As in a shell.
    """
    text = "[\"${A:-x: y}\", '${B:-2}', '${C:-2}', '${D:-}']"

    assert value_of(text, {"B": "", "C": "3"}) == ["x: y", "2", "3", ""]


def test_an_escape_gives_the_literal_text() -> None:
    """
    ``$${`` is ``${``; a dollar alone is a dollar.
    """
    assert value_of("[$${A}, '$$ $A $5']".replace("$${A}", "'$${A}'")) == [
        "${A}",
        "$$ $A $5",
    ]


def test_what_a_variable_holds_is_not_looked_at_again() -> None:
    """
    No variable can bring in another, or YAML.
    """
    environ = {"A": "${B}", "B": "b", "C": "x: [1]\n- !!python/name:os.system"}

    assert value_of("a: ${A}\nc: ${C}", environ) == {"a": "${B}", "c": environ["C"]}


def test_a_missing_variable_is_a_fault_at_its_own_place() -> None:
    """
    The column is that of the ``${``, also inside a longer text or a block.
    """
    text = "a: http://${HOST}/${PAHT}\nb: |\n  x\n  y ${NO}\n"

    assert faults_of(text, {"PATH": "x"}) == [
        "1:11: expected the environment variable HOST; got nothing: it is not set."
        " Set it, or write a default: ${HOST:-default}.",
        "1:19: expected the environment variable PAHT; got nothing: it is not set."
        " Did you mean 'PATH'? Set it, or write a default: ${PAHT:-default}.",
        "4:5: expected the environment variable NO; got nothing: it is not set."
        " Set it, or write a default: ${NO:-default}.",
    ]


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A-b}", "${A:-${B", "${A b}"])
def test_a_variable_written_wrong_is_a_fault(text: str) -> None:
    """
    It is never taken for text in silence.
    """
    found = faults_of(f"a: '{text}'", {"A": "1"})

    assert found[0].startswith("1:5: expected ${NAME} or ${NAME:-default}; got '${")


def test_variables_in_keys_are_left_alone() -> None:
    """
    Keys are the file's own words.
    """
    assert value_of("${A}: 1") == {"${A}": 1}


def test_a_variable_that_is_no_utf_8_is_a_fault() -> None:
    """
    The system hands such bytes over as surrogates, which nobody can encode.
    """
    assert faults_of("a: ${A}", {"A": "x\udcff"}) == [
        "1:4: expected UTF-8 in the environment variable A; got other bytes."
    ]


def test_an_unquoted_variable_inside_braces_says_what_to_do() -> None:
    """
    There, YAML takes the brace for its own.
    """
    (fault,) = faults_of("a: {b: ${X}}\n")

    assert fault.startswith("1:9: expected YAML; got a syntax error: ")
    assert fault.endswith(
        " Inside { } and [ ], write '${NAME}' in quotes: that is a text."
        " For a number, put the key on a line of its own, without braces."
    )
    assert value_of("a: {b: '${X}'}\n", {"X": "5"}) == {"a": {"b": "5"}}
    assert value_of("a:\n  b: ${X}\n", {"X": "5"}) == {"a": {"b": 5}}


# -- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            "a: 1\nb: 2\na: 3\n",
            [
                "3:1: expected each key once; got 'a' again."
                " The first is at line 1, column 1."
            ],
        ),
        (
            "a: !!python/object/apply:os.system [ls]\nb: !x {}\nc: !!int '1'\n",
            [
                f"{place}: expected a plain value; got the tag {tag}. Tags are never"
                " read: the types come from the component's class."
                for place, tag in [
                    ("1:4", "'!!python/object/apply:os.system'"),
                    ("2:4", "'!x'"),
                    ("3:4", "'!!int'"),
                ]
            ],
        ),
        ("? [x]\n: 1\n", ["1:3: expected a text as key; got a list or mapping."]),
        ("? \n: 1\n", ["1:2: expected a text as key; got nothing."]),
        (
            "a: &b {c: 1}\nd:\n  <<: *b\n",
            [
                "3:3: expected a key; got '<<'."
                " Merge keys are not read: write the keys out."
            ],
        ),
        (
            "a: 1\n---\nb: 2\n",
            ["2:1: expected one document; got a second one after '---'."],
        ),
        (
            "a: *base\nb: &bass 1\n",
            [
                "1:4: expected an anchor '&base' that ends before this;"
                " got the alias '*base' alone."
            ],
        ),
        (
            "a: &a [*a]\n",
            [
                "1:8: expected an anchor '&a' that ends before this;"
                " got the alias '*a' alone."
            ],
        ),
        (b"a: 1\nb\xc3\xa9: x\xff\n", ["2:6: expected UTF-8; got the byte 0xff."]),
        (
            "a: é\x07\n",
            ["1:5: expected printable text; got the character U+0007."],
        ),
        (
            "a: 1".encode("utf-16"),
            ["1:1: expected UTF-8; got the byte 0xff."],
        ),
        (
            b"#" * (MOST_BYTES + 1),
            ["1:1: expected a smaller file; got more than 4,194,304 bytes."],
        ),
    ],
)
def test_what_no_configuration_needs_is_refused_at_its_place(
    text: str | bytes, faults: list[str], loader: str
) -> None:
    """
    Each with the line and column, counted as editors do.
    """
    assert faults_of(text) == faults


@pytest.mark.parametrize(
    ("text", "place", "end"),
    [
        ("a:\n\t- b\n", "2:1", " Indent with spaces, not with tabs."),
        ("a: b: c\n", "1:5", " A text with ': ' in it needs quotes."),
        ("a: 'x\n", "2:1", "."),
        ("a: [1\nb: 2\n", "2:2", "."),
        ("a: @x\n", "1:4", "."),
        ("%YAML 3.0\n---\na: 1\n", "1:1", "."),
    ],
)
def test_a_syntax_error_is_one_fault_with_its_place(
    text: str, place: str, end: str
) -> None:
    """
    It ends the reading: what follows makes no sense.
    """
    (fault,) = faults_of(text)

    assert fault.startswith(f"{place}: expected YAML; got a syntax error: ")
    assert fault.endswith(end)


def test_what_the_scanner_in_python_lets_through_is_a_fault_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    It raises a bare ValueError where the one in C names a place.
    """
    monkeypatch.delattr(yaml, "CSafeLoader")
    (fault,) = faults_of('"\\U00110000"')

    assert fault.startswith("1:1: expected YAML; got a syntax error: chr()")


def test_faults_before_a_syntax_error_are_told_with_it() -> None:
    """
    One reading says as much as it can.
    """
    found = faults_of("a: !x 1\nb: ${NO}\nc: b: c\n")

    assert [fault.partition(": ")[0] for fault in found] == ["1:4", "2:4", "3:5"]


def test_an_empty_file_has_no_document_and_no_fault() -> None:
    """
    What a program needs is for others to say.
    """
    assert read_text("# nothing\n") == (None, [])


# -- bounds --------------------------------------------------------------------------


def test_anchors_and_aliases_are_read() -> None:
    """
    Repeating a restart policy is what they are good for.
    """
    assert value_of("a: &x {b: [1]}\nc: *x\n&k d: *k\n") == {
        "a": {"b": [1]},
        "c": {"b": [1]},
        "d": "d",
    }


def test_an_alias_bomb_is_refused_with_every_alias_counted() -> None:
    """
    A billion values from ten lines.
    """
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    for number in range(1, 10):
        aliases = ",".join([f"*a{number - 1}"] * 10)
        lines.append(f"a{number}: &a{number} [{aliases}]")

    assert [fault.partition(": ")[2] for fault in faults_of("\n".join(lines))] == [
        "expected at most 500,000 values; got more, with every alias written out."
    ]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "{a: " * 200_000,
        "- " * 1_000,
        "\n".join(f"- &a{n} [{f'*a{n - 1}' if n else 'x'}]" for n in range(300)),
    ],
    ids=["lists", "mappings", "blocks", "aliases"],
)
def test_nesting_without_end_is_a_fault_and_no_crash(text: str) -> None:
    """
    PyYAML's own composer in C would end the process.
    """
    (fault,) = faults_of(text)

    assert fault.endswith(
        ": expected at most 100 lists and mappings inside each other; got more."
    )


# -- places --------------------------------------------------------------------------


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_places_are_those_that_an_editor_shows(
    newline: str, mark: str, loader: str
) -> None:
    """
    Lines from 1, columns from 1 in characters; a byte order mark is none.
    """
    text = newline.join(["é😀: [1, {b: x}]", "c:", "  - 'd\u2028e'", "  - f: g", ""])
    node, faults = read_text(mark + text)

    assert faults == []
    assert node is not None

    places = {
        str(path): (place.line, place.column)
        for path in [("é😀",), ("é😀", 1, "b"), ("c", 0), ("c", 1, "f")]
        for place in [follow(node, path)[0]]
    }

    assert places == {
        "('é😀',)": (1, 5),
        "('é😀', 1, 'b')": (1, 13),
        "('c', 0)": (3, 5),
        "('c', 1, 'f')": (4, 8),
    }


def test_a_path_that_leaves_the_file_ends_at_its_last_node() -> None:
    """
    So a missing key is told where the mapping begins.
    """
    node, _ = read_text("a:\n  b: [1]\n")
    assert node is not None

    assert str(follow(node, ("a", "b", 7))[0]) == "f:2:6"
    assert str(follow(node, ("a", "c"))[0]) == "f:2:3"
    assert str(key_place(node, ("a", "b"))) == "f:2:3"
    assert str(key_place(node, ("a", "c"))) == "f:2:3"
    assert str(key_place(node, ())) == "f:1:1"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "nothing"),
        (True, "true"),
        (1.5, "1.5"),
        (float("-inf"), "-.inf"),
        (float("nan"), ".nan"),
        ("it's", '"it\'s"'),
        ("x" * 100, "'" + "x" * 38 + "…"),
    ],
)
def test_values_are_shown_as_a_file_would_write_them(
    value: None | bool | float | str, shown: str
) -> None:
    """
    Long ones are cut.
    """
    assert show_value(value) == shown


# -- whatever comes ------------------------------------------------------------------


def all_places(node: Node) -> list[tuple[int, int]]:
    """Return every place in *node*."""
    found = [(node.place.line, node.place.column)]
    match node:
        case Items():
            for item in node.items:
                found += all_places(item)
        case Table():
            for entry in node.entries.values():
                found.append((entry.key.line, entry.key.column))
                found += all_places(entry.node)
        case Leaf():
            pass
    return found


YAMLISH = st.lists(
    st.sampled_from(
        [*"abc01.-~ \n\t:,[]{}&*!|>'\"%@#?<$\\\r\u2028é😀\0"]
        + ["a: ", "\n  ", "- ", "${A}", "${B:-1}", "&x ", "*x", "<<: ", "---\n", "!!s "]
    ),
    max_size=40,
).map("".join)


@given(st.one_of(st.binary(max_size=60), YAMLISH.map(str.encode)))
@example(b"? &x [*x]\n: *x")
@example(b"\xef\xbb\xbf\xff")
@example(b'"\\ud800": 1')
@example(b"a: \xc2\x85b: 1\n-")
def test_any_bytes_give_nodes_or_faults_with_places_inside(data: bytes) -> None:
    """
    Nothing else ever comes out, and each place is in the file.
    """
    lines = data.decode("utf-8-sig", "replace").replace("\r\n", "\n")
    lengths = [len(line) for line in lines.replace("\r", "\n").split("\n")]
    faults = Faults()
    node = read(data, "f", {"A": "1"}, faults)
    places = [(each.line, each.column) for each in faults.error().faults]  # type: ignore[attr-defined]  # each is a Fault
    if node is not None:
        places += all_places(node)

    for line, column in places:
        assert 1 <= line <= len(lengths)
        assert 1 <= column <= lengths[line - 1] + 1
