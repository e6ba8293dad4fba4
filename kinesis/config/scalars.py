"""
What the text of a scalar means: environment variables, then its type.

``${NAME}`` is the variable's text; ``${NAME:-default}`` is the default where
the variable is not set or empty, as in a shell. ``$${`` stands for ``${``.
Plain scalars are typed after that by the rules of YAML 1.2 (its core schema),
the same that editors apply: ``true`` and ``false`` are truth values, while
``yes``, ``no``, ``on``, ``off``, ``012:30`` and dates are text. Quoted scalars
and blocks stay text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from kinesis.config.nodes import Scalar
from kinesis.errors import did_you_mean

_VARIABLE = re.compile(
    r"\$\$\{"  # the escape
    r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"(?P<fallback>:-(?P<default>(?:(?!\$\{)[^}])*))?\}"
    r"|\$\{",  # neither: a fault
)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})

LONGEST_NUMBER = 400  # digits; Python itself refuses to read 4 300
OnFault = Callable[[str, str], None]


def substitute(text: str, environ: Mapping[str, str], fault: OnFault) -> str:
    """
    Return *text* with its ``${…}`` replaced from *environ*.

    What a variable holds is not looked at again.

    Args:
        fault: Called with the ``${…`` that cannot be replaced, and why.
    """

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if match["name"] is None:
            fault("${", _malformed(text[match.start() :]))
            return match[0]
        return _value(match, environ, fault)

    return _VARIABLE.sub(replace, text)


def _malformed(rest: str) -> str:
    """Return what is wrong with a ``${`` that is no variable."""
    end = rest.find("}") + 1
    got = rest[: min(end or 20, 40)]
    return (
        f"expected ${{NAME}} or ${{NAME:-default}}; got {got!r}. "
        "A '${' that is meant so is written $${."
    )


def _value(match: re.Match[str], environ: Mapping[str, str], fault: OnFault) -> str:
    """Return the text for one ``${NAME}``."""
    name, default = match["name"], match["default"]
    value = environ.get(name)
    if match["fallback"] is not None:
        value = value or default
    if value is None:
        fault(
            f"${{{name}",
            f"expected the environment variable {name}; got nothing: it is not set."
            f"{did_you_mean(name, environ)} "
            f"Set it, or write a default: ${{{name}:-default}}.",
        )
        return match[0]
    if not _is_utf8(value):
        fault(
            f"${{{name}",
            f"expected UTF-8 in the environment variable {name}; got other bytes.",
        )
        return match[0]
    return value


def _is_utf8(text: str) -> bool:
    """Return whether *text* has no surrogates, which stand for undecoded bytes."""
    return text.isascii() or not re.search("[\ud800-\udfff]", text)


def typed(text: str) -> Scalar:
    """
    Return what a plain scalar *text* means.

    Raises:
        ValueError: It is a number of more digits than any field takes.
    """
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if text[0] in "+-.0123456789":
        return _number(text)
    return text


def _number(text: str) -> Scalar:
    """Return the number that *text* is, or *text* itself."""
    if _FLOAT.fullmatch(text) and len(text) > LONGEST_NUMBER:
        raise ValueError(f"{len(text)} digits")
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEX.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if infinite := _INFINITE.fullmatch(text):
        return float(f"{infinite[1]}inf")
    return float("nan") if text in _NAN else text
