"""``type: package.module:Class`` finds a component class, or says why not."""

from __future__ import annotations

import queue
import sys

import pytest

from .conftest import Shop

LAZY = """\
FIVE = 5

def __getattr__(name):
    if name == "Counter":
        raise RuntimeError("not today")
    raise AttributeError(name)
"""


def test_classes_are_found_beside_the_file(shop: Shop) -> None:
    """
    Its directory is put on the path, and stays there for later imports.
    """
    shop.write("pack/__init__.py", "")
    shop.write(
        "pack/inner.py",
        "from parts import Counter\nclass Outer:\n    class Inner(Counter): ...\n",
    )
    plan = shop.load(shop.component("", "pack.inner:Outer.Inner"))

    assert plan.components[0].type.__qualname__ == "Outer.Inner"
    assert sys.path[0] == str(shop.path)


@pytest.mark.parametrize(
    ("type_", "fault"),
    [
        ("parts", "expected 'package.module:Class'; got 'parts'."),
        (
            "parts.Counter",
            "expected 'package.module:Class'; got 'parts.Counter'."
            " Did you mean 'parts:Counter'?",
        ),
        ("'a b:C'", "expected 'package.module:Class'; got 'a b:C'."),
        ("'../x:C'", "expected 'package.module:Class'; got '../x:C'."),
        ("[x]", "expected a text for 'type'; got a list."),
        ("part:X", "expected a module that exists; got 'part'. Did you mean 'parts'?"),
        (
            "pack.innr:X",
            "expected a module that exists; got 'pack.innr'."
            " Did you mean 'pack.inner'?",
        ),
        (
            "pakc.inner:X",
            "expected a module that exists; got 'pakc.inner'."
            " Did you mean 'pack.inner'?",
        ),
        (
            "shop.measurements:X",
            "expected a module that exists; got 'shop.measurements'.",
        ),
        ("parts.x:X", "expected a module that exists; got 'parts.x'."),
        (
            "parts:Cuonter",
            "expected a class in 'parts'; got 'Cuonter'. Did you mean 'Counter'?",
        ),
        ("parts:Counter.x", "expected a class in 'parts'; got 'x'."),
        ("lazy:FIVE.x", "expected a class in 'lazy'; got 'x'."),
        (
            "lazy:Counter",
            "expected a class in 'lazy'; got 'Counter' that raises"
            " RuntimeError: not today (in lazy.py, line 5).",
        ),
        (
            "parts:Plain",
            "expected a class below Component; got 'parts:Plain', which is not one.",
        ),
        (
            "parts:function",
            "expected a class below Component; got function 'parts:function'.",
        ),
        (
            "parts:Unfinished",
            "expected a class without abstract methods;"
            " got 'parts:Unfinished' with work.",
        ),
        (
            "raises",
            "expected 'raises' to be imported; got ZeroDivisionError: division by"
            " zero (in raises.py, line 3).",
        ),
        (
            "refused",
            "expected 'refused' to be imported; got DeclarationError: @handles takes"
            " message classes, not nothing. Write @handles(Deposit). (in refused.py,"
            " line 2).",
        ),
        (
            "leaves",
            "expected 'leaves' to be imported; got SystemExit: 0"
            " (in leaves.py, line 2).",
        ),
        (
            "aborts",
            "expected 'aborts' to be imported; got Abort: too old"
            " (in aborts.py, line 2).",
        ),
        (
            "lacks",
            "expected 'lacks' to be imported; got ModuleNotFoundError: No module"
            " named 'not_there' (in lacks.py, line 1).",
        ),
    ],
)
def test_a_type_that_is_no_component_class_says_why(
    shop: Shop, type_: str, fault: str
) -> None:
    """
    The exception of a failing import is named, with its line.
    """
    shop.write("pack/__init__.py", "")
    shop.write("pack/inner.py", "")
    shop.write("raises.py", "def f() -> None:\n\n    1 / 0\nf()\n")
    shop.write("leaves.py", "import sys\nsys.exit(0)\n")
    shop.write("aborts.py", "class Abort(BaseException): ...\nraise Abort('too old')\n")
    shop.write("refused.py", "from kinesis import handles\nhandles()\n")
    shop.write("lacks.py", "import not_there\n")
    shop.write("lazy.py", LAZY)
    if type_ in ("raises", "refused", "leaves", "aborts", "lacks"):
        type_ += ":X"

    assert shop.faults(shop.component("", type_)) == [f"4:11: {fault}"]


def test_a_syntax_error_in_a_module_is_told_once_for_each_use(shop: Shop) -> None:
    """
    The module is tried once.
    """
    shop.write("broken.py", "def f(:\n")
    text = shop.component("", "broken:A") + "  - {name: b, type: 'broken:B'}\n"
    found = shop.faults(text)

    assert [fault.partition(": ")[0] for fault in found] == ["4:11", "5:21"]
    assert all("got SyntaxError: " in fault for fault in found)
    assert all("(broken.py, line 1)" in fault for fault in found)


@pytest.mark.parametrize(
    ("name", "text", "type_"),
    [
        ("stops", "raise KeyboardInterrupt\n", "stops:X"),
        ("later", "def __getattr__(name): raise KeyboardInterrupt\n", "later:X"),
    ],
)
def test_ctrl_c_during_an_import_stays_an_interrupt(
    shop: Shop, name: str, text: str, type_: str
) -> None:
    """
    It is the user's, and no fault of the file.
    """
    shop.write(f"{name}.py", text)

    with pytest.raises(KeyboardInterrupt):
        shop.load(shop.component("", type_))


@pytest.mark.parametrize(
    ("file", "type_", "fault"),
    [
        ("queue.py", "queue:Waiting", "expected a class in 'queue'; got 'Waiting'."),
        (
            "queue/__init__.py",
            "queue:Queue",
            "expected a class below Component; got 'queue:Queue', which is not one.",
        ),
        (
            "queue/inner.py",
            "queue.inner:Waiting",
            "expected a module that exists; got 'queue.inner'.",
        ),
    ],
)
def test_a_module_that_hides_the_one_beside_the_file_is_named(
    shop: Shop, file: str, type_: str, fault: str
) -> None:
    """
    It was imported before, by Python itself or by another program of the process.
    """
    shop.write("queue/__init__.py" if "/" in file else file, "")
    shop.write(file, "from parts import Counter\nclass Waiting(Counter): ...\n")
    hint = (
        f" 'queue' is {queue.__file__}, which was imported before:"
        " give yours another name."
    )

    assert shop.faults(shop.component("", type_)) == [f"4:11: {fault}{hint}"]


def test_the_module_beside_the_file_hides_nothing(shop: Shop) -> None:
    """
    Neither imported before, nor reached through a link.
    """
    beside = Shop(shop.path / "link")
    beside.path.symlink_to(shop.path)
    shop.load(shop.component(""))

    assert beside.faults(beside.component("", "parts:Cuonter")) == [
        "4:11: expected a class in 'parts'; got 'Cuonter'. Did you mean 'Counter'?"
    ]
