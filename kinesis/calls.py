"""
Functions of which a call runs nothing: coroutine functions and generators.

What people write in a component is called on a thread, where nobody awaits what comes
back. It would look as if it had run.
"""

from __future__ import annotations

import inspect
from functools import partial

from kinesis.errors import DeclarationError

__all__ = ["check_runs"]


def check_runs(function: object, what: str, *, iterated: bool = False) -> None:
    """
    Refuse *function* if a call would run none of its code.

    Args:
        what: What it was to be, for people: ``the hook Poller.start``.
        iterated: Somebody iterates over what it returns, so a generator will do.

    Raises:
        DeclarationError: It is a coroutine function or a generator.
    """
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)  # of a method, of a staticmethod
    flags: int = getattr(getattr(function, "__code__", None), "co_flags", 0)
    if flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        raise DeclarationError(
            f"{what} is asynchronous: a call runs none of it, and nobody here would "
            f"await it. Write a plain function; asyncio.run() in it runs coroutines."
        )
    if flags & inspect.CO_GENERATOR and not iterated:
        raise DeclarationError(
            f"{what} is a generator: a call runs none of it, and nobody here would "
            f"iterate over it. Write a plain function, without yield."
        )
