"""Find the class that ``type: package.module:Class`` names."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import attrs

from kinesis.errors import describe, did_you_mean

_NAME = r"[^\W\d]\w*"
_TYPE = re.compile(rf"({_NAME}(?:\.{_NAME})*):({_NAME}(?:\.{_NAME})*)")
_DOTTED = re.compile(rf"({_NAME}(?:\.{_NAME})*)\.({_NAME})")

# What files of ours, and of the import itself, begin with.
_NOT_THEIRS = ("<frozen ", importlib.__file__, f"{Path(__file__).parents[1]}{os.sep}")


class NotFoundError(Exception):
    """There is no such class: what was *expected*, what was *got*, and a *hint*."""

    def __init__(self, expected: str, got: str, hint: str = "") -> None:
        super().__init__(expected, got, hint)
        self.expected, self.got, self.hint = expected, got, hint


@attrs.define(eq=False)
class Types:
    """
    The classes below *base* that one file names.

    Args:
        base: What each must be a subclass of.
        directory: Of the file. It is put first on ``sys.path`` and stays there:
            components may import from it later, as in a script.
    """

    base: type
    directory: Path
    _modules: dict[str, ModuleType | NotFoundError] = attrs.field(
        factory=dict, init=False
    )

    def find(self, text: str) -> type:
        """
        Return the class that *text* names, importing its module.

        Raises:
            NotFoundError: There is none, or it is no component class.
        """
        match = _TYPE.fullmatch(text)
        if match is None:
            hint = ""
            if dotted := _DOTTED.fullmatch(text):
                hint = f" Did you mean '{dotted[1]}:{dotted[2]}'?"
            raise NotFoundError("'package.module:Class'", repr(text), hint)
        try:
            found: object = self._module(match[1])
            for name in match[2].split("."):
                found = self._attribute(found, name, match[1])
            return self._checked(found, text)
        except NotFoundError as error:
            hint = error.hint + self._hidden(match[1])
            raise NotFoundError(error.expected, error.got, hint) from error

    def _hidden(self, name: str) -> str:
        """Return a hint if the module beside the file is not the one imported."""
        top = name.partition(".")[0]
        found = getattr(sys.modules.get(top), "__file__", None)
        beside = [self.directory / f"{top}.py", self.directory / top / "__init__.py"]
        beside = [each.resolve() for each in beside if each.is_file()]
        if found is None or not beside or Path(found).resolve() in beside:
            return ""
        return (
            f" '{top}' is {found}, which was imported before: give yours another name."
        )

    def _module(self, name: str) -> ModuleType:
        """Return the module, imported once: a failure is remembered too."""
        if name not in self._modules:
            try:
                self._modules[name] = self._import(name)
            except NotFoundError as error:
                self._modules[name] = error
        found = self._modules[name]
        if isinstance(found, NotFoundError):
            raise found
        return found

    def _import(self, name: str) -> ModuleType:
        """Import the module *name*."""
        directory = str(self.directory)
        if directory not in sys.path:
            sys.path.insert(0, directory)
        importlib.invalidate_caches()  # it may be newer than the last look
        try:
            return importlib.import_module(name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a module is the user's code
            missing = getattr(error, "name", None)
            if isinstance(error, ModuleNotFoundError) and _is_part(missing, name):
                hint = did_you_mean(name, self._siblings(name))
                raise NotFoundError(
                    "a module that exists", f"'{name}'", hint
                ) from error
            got = f"{describe(error)}{_where(error)}"
            raise NotFoundError(f"'{name}' to be imported", got) from error

    def _siblings(self, name: str) -> Iterable[str]:
        """Return the modules that *name* may have been meant to be."""
        parent, _, _ = name.rpartition(".")
        if not parent:
            return [each.name for each in pkgutil.iter_modules([str(self.directory)])]
        if parent not in sys.modules:
            from difflib import get_close_matches  # lazy: only errors need it

            last = name.rpartition(".")[2]
            near = get_close_matches(parent, list(self._siblings(parent)))
            return [f"{each}.{last}" for each in near]  # not by the part they share
        where = getattr(sys.modules[parent], "__path__", ())
        return [each.name for each in pkgutil.iter_modules(where, f"{parent}.")]

    def _attribute(self, owner: object, name: str, module: str) -> object:
        """Return the attribute *name* of a module or class."""
        try:
            return getattr(owner, name)
        except AttributeError:
            hint = did_you_mean(name, self._classes(owner))
            raise NotFoundError(f"a class in '{module}'", f"'{name}'", hint) from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # of a module's __getattr__, the user's code
            got = f"'{name}' that raises {describe(error)}{_where(error)}"
            raise NotFoundError(f"a class in '{module}'", got) from error

    def _classes(self, owner: object) -> list[str]:
        """Return the names of the component classes that *owner* has."""
        if not isinstance(owner, ModuleType | type):
            return []
        return [
            name
            for name, value in vars(owner).items()
            if isinstance(value, type) and issubclass(value, self.base)
        ]

    def _checked(self, found: object, text: str) -> type:
        """Return *found* if it is a class whose objects are components."""
        expected = f"a class below {self.base.__name__}"
        if not isinstance(found, type):
            raise NotFoundError(expected, f"{type(found).__name__} '{text}'")
        if not issubclass(found, self.base):
            raise NotFoundError(expected, f"'{text}', which is not one")
        if inspect.isabstract(found):
            names = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
            raise NotFoundError(
                "a class without abstract methods", f"'{text}' with {names}"
            )
        return found


def _is_part(missing: str | None, name: str) -> bool:
    """Return whether the *missing* module is *name* or a package it is in."""
    return missing is not None and (name == missing or name.startswith(f"{missing}."))


def _where(error: BaseException) -> str:
    """Return the place in the user's code that raised *error*."""
    if isinstance(error, SyntaxError):
        return ""  # its text says it
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_NOT_THEIRS)]
    if not own:
        return ""
    return f" (in {Path(own[-1].filename).name}, line {own[-1].lineno})"
