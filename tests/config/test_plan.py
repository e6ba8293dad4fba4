"""A file becomes a plan, or every fault in it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kinesis.component import Component
from kinesis.config import ComponentPlan, HttpPlan, Plan, load, loads
from kinesis.config.checking import COMPONENT_KEYS
from kinesis.container import Container
from kinesis.declared import fields_of
from kinesis.errors import ConfigError
from kinesis.restarts import Backoff, Restart

from .conftest import Shop

WHOLE = """\
name: shop
strategy: rest-for-one
shutdown_deadline: 20
http:
  host: 0.0.0.0
  port: ${PORT:-8081}
  token: ${TOKEN}
components:
  - name: stock
    type: parts:Counter
    config: {count: 3, step: 2}
    restart: {when: always, backoff: {first: 1, factor: 3, most: 9, jitter: 0}}
    start_deadline: 1.5
    stop_deadline: 2
    stall_after: 4
    mailbox_bound: 10
    overflow: drop-oldest
    on_stop: refuse
    dispatch: caller
  - name: pollers
    strategy: one-for-all
    components:
      - name: north
        type: parts:Poller
        config:
          url: ${URL}
          tags: [a, b]
          limits: {cpu: 90, memory: 0.5}
      - name: shelf
        type: parts:Shelf
        config: {label: x}
        components:
          - {name: deep, type: "parts:Counter"}
"""


@pytest.fixture
def whole(shop: Shop) -> Plan:
    """Return the plan of a file with everything in it."""
    shop.environ.update(TOKEN="12345", URL="http://x")
    return shop.load(WHOLE)


def test_a_whole_file_is_read_into_a_plan(shop: Shop, whole: Plan) -> None:
    """
    Every value is where the file puts it, typed as the class says.
    """
    stock, pollers = whole.components
    north, shelf = pollers.components

    assert (whole.name, whole.strategy) == ("shop", "rest-for-one")
    assert whole.shutdown_deadline == 20.0
    assert whole.http == HttpPlan(True, "0.0.0.0", 8081, "12345")
    assert whole.file == str(shop.path / "app.yaml")
    assert stock.type.__name__ == "Counter"
    assert stock.config == {"count": 3, "step": 2.0}
    assert type(stock.config["step"]) is float
    assert stock.restart == Restart(
        when="always", backoff=Backoff(first=1, factor=3, most=9, jitter=0)
    )
    assert (stock.start_deadline, stock.stop_deadline) == (1.5, 2.0)
    assert stock.settings == {
        "stall_after": 4.0,
        "mailbox_bound": 10,
        "overflow": "drop-oldest",
        "on_stop": "refuse",
        "dispatch": "caller",
    }
    assert (pollers.type, pollers.strategy) == (Container, "one-for-all")
    assert north.config == {
        "url": "http://x",
        "tags": ["a", "b"],
        "limits": {"cpu": 90.0, "memory": 0.5},
    }
    assert shelf.type.__name__ == "Shelf"
    assert shelf.components[0].name == "deep"
    assert [path for path, _ in whole.walk()] == [
        "/shop/stock",
        "/shop/pollers",
        "/shop/pollers/north",
        "/shop/pollers/shelf",
        "/shop/pollers/shelf/deep",
    ]


def test_what_a_file_does_not_say_is_left_to_the_classes(shop: Shop) -> None:
    """
    A plan has None for it, and the constructor is not given it.
    """
    plan = shop.load(shop.component("config:\n"))
    (one,) = plan.components

    assert plan == Plan("app", (ComponentPlan("one", one.type),))
    assert one.arguments() == {"name": "one"}


def test_plans_are_equal_by_content_and_not_by_place(shop: Shop) -> None:
    """
    So comments, order of keys and other spellings are no difference.
    """
    one = shop.load(shop.component("config: {count: 1}\nstop_deadline: 2"))
    other = shop.load(
        "# a comment\ncomponents:\n- {stop_deadline: 2.0, config: {'count': 0x1},"
        " type: 'parts:Counter', name: one}\nname: 'app'\n"
    )

    assert one == other
    assert one.components[0].place != other.components[0].place


def test_secrets_are_not_in_the_repr(shop: Shop, whole: Plan) -> None:
    """
    A plan may be logged.
    """
    plan = shop.load(
        shop.component("config: {url: x, token: hush, note: hush}", "parts:Poller")
    )

    assert "hush" not in repr(plan)
    assert "12345" not in repr(whole)


@pytest.mark.parametrize(
    ("text", "http"),
    [
        ("off", HttpPlan(enabled=False)),
        ("false", HttpPlan(enabled=False)),
        ("on", HttpPlan()),
        ("{}", HttpPlan()),
        ("{port: 0}", HttpPlan(port=0)),
        (
            "{hosts: [a.example], cert: c.pem, key: k.pem, stop_delay: 2, threads: 3}",
            HttpPlan(
                hosts=("a.example",),
                cert="c.pem",
                key="k.pem",
                stop_delay=2.0,
                threads=3,
            ),
        ),
    ],
)
def test_http_is_a_mapping_or_a_switch(shop: Shop, text: str, http: HttpPlan) -> None:
    """
    An empty mapping is the defaults; 0 takes a free port.
    """
    assert shop.load(f"name: a\ncomponents: []\nhttp: {text}").http == http


def test_a_word_for_restart_keeps_the_rest_of_the_class_s_policy(shop: Shop) -> None:
    """
    A file tunes what the class says; it need not repeat it.
    """
    text = shop.component("config: {url: x}\nrestart: never", "parts:Poller")
    other = shop.component("config: {url: x}\nrestart: {window: 5}", "parts:Poller")

    assert shop.load(text).components[0].restart == Restart("never", limit=3)
    assert shop.load(other).components[0].restart == Restart(
        "always", limit=3, window=5
    )


def test_digits_from_the_environment_stay_text_where_a_field_is_text(
    shop: Shop,
) -> None:
    """
    A password may be all digits, and a file should not need quotes for that.
    """
    shop.environ.update(DIGITS="0123", NOTHING="")
    text = "config:\n  url: ${DIGITS}\n  note: ${DIGITS}\n  token: ${NOTHING}\n"
    (plan,) = shop.load(shop.component(text, "parts:Poller")).components

    assert plan.config == {"url": "0123", "note": "0123", "token": ""}


# -- faults --------------------------------------------------------------------------


def test_all_faults_of_a_file_are_told_at_once(shop: Shop) -> None:
    """
    Each with its own line and column, in the order of the file.
    """
    found = shop.faults(
        """\
nam: shop
strategy: one-for-al
shutdown_deadline: soon
http: {hots: x, port: 70000}
components:
  - name: a b
    type: parts:Countr
  - type: parts:Counter
    config: {conut: 1, count: x}
    restart: {when: on-failur, backoff: {frist: 1, most: -1}, limit: 1.5}
  - name: a
    type: parts:Poller
    config:
      tags: [x, 5]
    start_deadline: ${MISSING}
    stop_deadline: 0
    components: []
  - just text
"""
    )
    places = [fault.split(": ", 1)[0] for fault in found]

    assert places == [
        "1:1",
        "1:1",
        "2:11",
        "3:20",
        "4:8",
        "4:23",
        "6:11",
        "7:11",
        "8:5",
        "9:14",
        "9:31",
        "10:21",
        "10:42",
        "10:58",
        "10:70",
        "14:7",
        "14:17",
        "15:21",
        "16:20",
        "17:5",
        "18:5",
    ]
    assert [fault for fault in found if "Did you mean" in fault] == [
        "1:1: expected a key of the program; got 'nam'. Did you mean 'name'?",
        "2:11: expected one of one-for-one, rest-for-one, one-for-all for 'strategy';"
        " got 'one-for-al'. Did you mean 'one-for-all'?",
        "4:8: expected a key of http; got 'hots'. Did you mean 'hosts'?",
        "7:11: expected a class in 'parts'; got 'Countr'. Did you mean 'Counter'?",
        found[9],
        "10:21: expected one of never, on-failure, always for 'when';"
        " got 'on-failur'. Did you mean 'on-failure'?",
        "10:42: expected a key of backoff; got 'frist'. Did you mean 'first'?",
    ]
    assert "Did you mean 'count'?" in found[9]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ["1:1: expected a mapping with 'name' and 'components'; got nothing."]),
        ("- x", ["1:1: expected a mapping with 'name' and 'components'; got a list."]),
        (
            "{}",
            [
                "1:1: expected the key 'components'; got the program without it.",
                "1:1: expected the key 'name'; got the program without it.",
            ],
        ),
        (
            "name: 5\ncomponents: {}",
            [
                "1:7: expected a text for 'name'; got 5. Put it in quotes.",
                "2:13: expected a list for 'components'; got a mapping.",
            ],
        ),
        (
            "name: app\ncomponents:\n",
            ["2:12: expected a list for 'components'; got nothing."],
        ),
        (
            "name: app\ncomponents: [{name: x}]\n",
            ["2:14: expected the key 'type'; got a component without it."],
        ),
        (
            "name: app\ncomponents: []\nhttp: 5\n",
            ["3:7: expected on, off or a mapping for 'http'; got 5."],
        ),
        (
            "name: app\ncomponents: []\nhttp: {hosts: [a, [b]]}\n",
            ["3:19: expected texts for 'hosts'; got a list."],
        ),
        (
            "name: app\ncomponents: []\nhttp: [on]\n",
            ["3:7: expected on, off or a mapping for 'http'; got a list."],
        ),
        (
            "name: app\ncomponents: []\nhttp: {port: on, host: [x], token: ~}\n",
            [
                "3:14: expected a whole number, 0 to 65535, for 'port'; got 'on'.",
                "3:24: expected a text for 'host'; got a list.",
                "3:36: expected a text for 'token'; got nothing.",
            ],
        ),
        (
            "name: app\ncomponents: []\nstop_deadline: 3\n",
            [
                "3:1: expected a key of the program; got 'stop_deadline'."
                " Did you mean 'shutdown_deadline'?"
            ],
        ),
        (
            "name: app\ncomponents: []\nzzz: 3\n",
            [
                "3:1: expected a key of the program; got 'zzz'. Known: name,"
                " components, strategy, shutdown_deadline, http."
            ],
        ),
        (
            "name: ../x\ncomponents: []\n",
            [
                "1:7: expected letters, digits, '.', '_', '~' and '-' for 'name';"
                " got '../x'."
            ],
        ),
    ],
)
def test_a_program_that_lacks_something_says_what(
    shop: Shop, text: str, faults: list[str]
) -> None:
    """
    What was expected, and what is there.
    """
    assert shop.faults(text) == faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("config: [1]", "5:13: expected a mapping for 'config'; got a list."),
        ("config: x", "5:13: expected a mapping for 'config'; got 'x'."),
        (
            "restart: sometimes",
            "5:14: expected one of never, on-failure, always or a mapping"
            " for 'restart'; got 'sometimes'.",
        ),
        (
            "restart: [never]",
            "5:14: expected one of never, on-failure, always or a mapping"
            " for 'restart'; got a list.",
        ),
        (
            "restart: {backoff: 5}",
            "5:24: expected a mapping for 'backoff'; got 5.",
        ),
        (
            "restart: {window: true}",
            "5:23: expected a number, 0 or more, for 'window'; got true.",
        ),
        (
            "restart: {limit: -1}",
            "5:22: expected a whole number, 0 or more, for 'limit'; got -1.",
        ),
        (
            "stop_deadline: .inf",
            "5:20: expected a number, more than 0, for 'stop_deadline'; got .inf.",
        ),
        (
            "stop_deadline: 1" + "0" * 390,
            "5:20: expected a number, more than 0, for 'stop_deadline';"
            " got 1" + "0" * 38 + "….",
        ),
        (
            "overflow: []",
            "5:15: expected one of refuse, wait, drop-oldest for 'overflow';"
            " got a list.",
        ),
        (
            "strategy: one-for-one",
            "5:5: expected 'strategy' on a container only; got Counter, which is none.",
        ),
        (
            "components: []",
            "5:5: expected 'components' on a container only;"
            " got Counter, which is none.",
        ),
    ],
)
def test_a_value_that_does_not_fit_says_what_would(
    shop: Shop, text: str, fault: str
) -> None:
    """
    At the value, not at the component.
    """
    assert shop.faults(shop.component(text)) == [fault]


def test_siblings_of_one_name_are_a_fault_and_cousins_are_not(shop: Shop) -> None:
    """
    Paths must be unique.
    """
    nested = "{name: c, components: [{name: a, type: 'parts:Counter'}]}"
    text = (
        "name: app\ncomponents:\n"
        "  - &a {name: a, type: 'parts:Counter'}\n"
        f"  - {nested}\n"
        "  - {type: 'parts:Counter', name: a}\n"
        "  - *a\n"
    )

    assert shop.faults(text) == [
        "3:5: expected a name that no sibling has; got 'a' again."
        " The first is at line 3, column 15.",
        "5:35: expected a name that no sibling has; got 'a' again."
        " The first is at line 3, column 15.",
    ]


def test_a_fault_that_is_told_hides_only_what_follows_from_it(shop: Shop) -> None:
    """
    A missing variable is one fault, not also one of type; others are told too.
    """
    text = "config:\n  count: ${NO}\n  step: x\nstop_deadline: !x 5\n"
    found = shop.faults(shop.component(text))

    assert [fault.partition(": ")[0] for fault in found] == ["6:14", "7:13", "8:20"]


def test_what_a_variable_holds_is_not_in_any_message(shop: Shop) -> None:
    """
    It may be a secret, and messages go to logs.
    """
    shop.environ.update(SECRET="hunter2")
    text = (
        "config:\n  count: ${SECRET}\n  step: x${SECRET}\n"
        "stop_deadline: ${SECRET}\noverflow: ${SECRET}\nrestart: ${SECRET}\n"
    )
    found = shop.faults(shop.component(text))

    assert len(found) == 5
    assert "hunter2" not in "\n".join(found)


def test_a_secret_that_does_not_fit_is_not_in_the_message(shop: Shop) -> None:
    """
    Also when the file itself has it.
    """
    text = "config: {url: x, token: [hunter2, 5]}"
    found = shop.faults(shop.component(text, "parts:Poller"))

    assert len(found) == 1
    assert found[0].startswith("5:29: ")
    assert "hunter2" not in found[0]


# -- the config of a class -----------------------------------------------------------


NESTED = """\
from __future__ import annotations
import attrs
from kinesis.component import Component
from kinesis.declared import field, private, setting

@attrs.frozen
class Rule:
    above: float
    name: str = attrs.field(
        default="", validator=attrs.validators.max_len(3)
    )

class Watch(Component):
    rules: list[Rule] = field(factory=list)
    any_of: int | list[int] = field(default=1)
    socket: object = private()
    knob: int = setting(default=3)
"""


@pytest.mark.parametrize(
    ("config", "faults"),
    [
        (
            "{rules: [{abov: 3}, {above: high, name: 5}, 7]}",
            [
                "5:22: expected 'above' in 'rules[0]'; got nothing.",
                "5:23: expected a key of 'rules[0]'; got 'abov'."
                " Did you mean 'above'? Known: above, name.",
                "5:41: expected float for 'rules[1].above'; got 'high'.",
                "5:53: expected str for 'rules[1].name'; got 5.",
                "5:57: expected Rule for 'rules[2]'; got 7.",
            ],
        ),
        (
            "{rules: {}, any_of: x}",
            [
                "5:21: expected list[Rule] for 'rules'; got a mapping.",
                "5:33: expected int or list[int] for 'any_of'; got 'x'.",
            ],
        ),
        (
            "{rules: [{above: .nan}]}",
            [
                "5:30: expected a value that fits 'rules[0].above';"
                " got: NaN and infinity are not accepted."
            ],
        ),
        (
            "{socket: 1, restart: never, knob: x, zzz: 1}",
            [
                "5:14: expected a field of Watch; got 'socket', which is private"
                " to the component.",
                "5:25: expected 'restart' beside 'config'; got it inside.",
                "5:47: expected int for 'knob'; got 'x'.",
                "5:50: expected a field of Watch; got 'zzz'."
                " Known: rules, any_of, knob.",
            ],
        ),
    ],
)
def test_faults_deep_in_config_are_told_as_those_above(
    shop: Shop, config: str, faults: list[str]
) -> None:
    """
    Classes of values are checked to any depth; settings of one's own are taken.
    """
    shop.write("nested.py", NESTED)

    assert shop.faults(shop.component(f"config: {config}", "nested:Watch")) == faults


def test_what_a_validator_says_of_a_variable_is_left_out(shop: Shop) -> None:
    """
    It may repeat the value; what it says of the file's own is told.
    """
    shop.write("nested.py", NESTED)
    shop.environ["SECRET"] = "hunter2"
    text = "config:\n  rules: [{above: 1, name: NAME}]"
    own = shop.faults(shop.component(text.replace("NAME", "long"), "nested:Watch"))
    hidden = shop.faults(
        shop.component(text.replace("NAME", "'${SECRET}'"), "nested:Watch")
    )

    assert own[0].startswith("6:15: expected a value that fits 'rules[0]'; got: Length")
    assert hidden == [
        "6:15: expected a value that fits 'rules[0]';"
        " got: a value from the environment that does not."
    ]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("config: {url: 5}", "5:19", ["5"]),
        ("config: {uri: x, url: x}", "5:14", ["'uri'", "Did you mean 'url'?"]),
        ("config: {url: x, socket: 1}", "5:22", ["socket"]),
        ("config: {url: x, name: y}", "5:22", ["name"]),
        ("config: {url: x, tags: [a, 5]}", "5:32", ["5"]),
        ("config: {url: x, limits: {a: b}}", "5:34", ["'b'"]),
        ("config: {tags: []}", "5:13", ["url"]),
        ("restart: never", "4:11", ["url"]),
        ("config:\n", "5:5", ["url"]),
    ],
)
def test_a_fault_in_config_is_told_at_its_own_place(
    shop: Shop, text: str, place: str, words: list[str]
) -> None:
    """
    Unknown keys at the key, wrong values at the value, however deep.
    """
    (fault,) = shop.faults(shop.component(text, "parts:Poller"))

    assert fault.startswith(f"{place}: expected ")
    assert [word for word in words if word not in fault] == []


def test_a_class_whose_types_cannot_be_read_is_a_fault_at_its_type(shop: Shop) -> None:
    """
    The error of the class names the field.
    """
    shop.write(
        "odd.py",
        "from __future__ import annotations\n"
        "from kinesis.component import Component\n"
        "class Odd(Component):\n    size: Missing = 1\n",
    )
    (fault,) = shop.faults(shop.component("", "odd:Odd"))

    assert fault.startswith("4:11: ")
    assert "Odd.size" in fault


# -- building ------------------------------------------------------------------------


def test_a_plan_is_built_into_components(whole: Plan) -> None:
    """
    The constructors get what the file says and nothing else.
    """
    built: list[Any] = whole.build()
    stock, pollers = built

    assert (stock.name, stock.count, stock.step) == ("stock", 3, 2.0)
    assert stock.restart.when == "always"
    assert (stock.start_deadline, stock.stop_deadline) == (1.5, 2.0)
    assert (stock.mailbox_bound, stock.dispatch) == (10, "caller")
    assert type(pollers) is Container
    assert (pollers.name, pollers.strategy) == ("pollers", "one-for-all")
    assert pollers.stop_deadline == Container(name="x").stop_deadline


def test_two_builds_share_nothing(shop: Shop) -> None:
    """
    A component that changes its list changes neither the plan nor the next one.
    """
    text = shop.component("config: {url: x, tags: [a]}", "parts:Poller")
    plan = shop.load(text)
    first: Any = plan.components[0].build()
    first.tags.append("b")
    second: Any = plan.components[0].build()

    assert second.tags == ["a"]
    assert plan == shop.load(text)


def test_what_constructors_raise_is_told_for_every_component(shop: Shop) -> None:
    """
    At the component's place, wherever it is in the tree.
    """
    picky = "{name: NAME, type: 'parts:Picky', config: {size: 13}}"
    text = (
        "name: app\ncomponents:\n"
        f"  - {picky.replace('NAME', 'a')}\n"
        "  - name: in\n    components:\n"
        f"      - {picky.replace('NAME', 'b')}\n"
        f"      - {picky.replace('13', '14').replace('NAME', 'c')}\n"
    )
    plan = shop.load(text)
    with pytest.raises(ConfigError) as caught:
        plan.build()
    message = "expected Picky to take its arguments; got ValueError: 13 is no size."

    assert str(caught.value).splitlines() == [
        f"{plan.file}:3:5: {message}",
        f"{plan.file}:6:9: {message}",
    ]


def test_a_constructor_that_exits_is_told_as_one_that_raises(shop: Shop) -> None:
    """
    It is code of the user's, and may not end the process that reads the file.
    """
    shop.write(
        "leaves.py",
        "import sys\nfrom kinesis.component import Component\n\n"
        "class Leaver(Component):\n"
        "    def __init__(self, **fields):\n        sys.exit('no config')\n",
    )
    plan = shop.load(shop.component("", "leaves:Leaver"))

    with pytest.raises(ConfigError, match=r":3:5: .*; got SystemExit: no config\.$"):
        plan.build()


def test_a_plan_made_by_hand_builds_too() -> None:
    """
    It needs no file; a fault then has no place of its own.
    """
    plan = ComponentPlan("x", Component, config={"nonsense": 1})

    with pytest.raises(ConfigError, match=r"^<plan>:1:1: expected Component to take"):
        plan.build()


# -- files ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["missing.yaml", ".", "nul\0"])
def test_a_file_that_cannot_be_read_is_a_fault_too(tmp_path: Path, name: str) -> None:
    """
    The same error as for what is in it, so callers need only one.
    """
    with pytest.raises(ConfigError, match=r":1:1: expected a file to read; got ") as e:
        load(tmp_path / name)

    assert e.value.__cause__ is not None


def test_bytes_can_be_read_without_a_file(tmp_path: Path) -> None:
    """
    The name is for messages, and for where classes are.
    """
    plan = loads(b"name: app\ncomponents: []\n", str(tmp_path / "x.yaml"))

    assert plan == Plan("app")


def test_every_setting_of_components_and_containers_has_a_key() -> None:
    """
    A setting that is added to those classes is not forgotten here.
    """
    settings = {
        name for name, field in fields_of(Container).items() if field.kind == "setting"
    }

    assert settings - set(COMPONENT_KEYS) == set()
