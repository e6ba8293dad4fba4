"""``type: package.module:Class`` finds a component class, or says why not."""

from __future__ import annotations

import sys

import pytest

from .conftest import Shop


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
            "leaves",
            "expected 'leaves' to be imported; got SystemExit: 0"
            " (in leaves.py, line 2).",
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
    shop.write("lacks.py", "import not_there\n")
    if type_ in ("raises", "leaves", "lacks"):
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
