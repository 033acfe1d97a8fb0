"""One small registry: models, precisions and datasets register themselves by name.

Importing a registry must stay cheap (no torch): what is registered imports what it needs when it is used.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from benchsuite.errors import UnknownNameError, UsageError, reason_of

T = TypeVar("T")
_GLOB = re.compile(r"[*?\[]")


class Registry(Generic[T]):
    """Names and what they stand for, in order of registration.

    `kind` is the word for error messages; a third party adds its own through the entry-point group
    `benchsuite.<kind>s` (importing the entry point's module registers) or simply by importing and calling `register`.

    >>> colours: Registry[int] = Registry("colour")
    >>> colours.register("red", 0xFF0000)
    16711680
    >>> @colours.family(r"grey(\\d+)", examples=["grey50"])
    ... def grey(match: re.Match[str]) -> int:
    ...     return int(match[1]) * 0x010101
    >>> colours["grey2"], colours.select(["g*,red"])
    (131586, ('grey50', 'red'))
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._exact: dict[str, T] = {}
        self._families: list[tuple[re.Pattern[str], Callable[[re.Match[str]], T]]] = []
        self._listed: dict[str, None] = {}  # an ordered set: exact names and the examples of families
        self._entry_points_loaded = False

    def register(self, name: str, value: T) -> T:
        """Register `value` under `name`; a name taken already is a usage error."""
        if self._find(name) is not None:
            raise UsageError(f"{self.kind} {name!r} is registered twice; choose another name")
        self._exact[name] = value
        self._listed[name] = None
        return value

    def family(
        self, pattern: str, *, examples: Iterable[str] = ()
    ) -> Callable[[Callable[[re.Match[str]], T]], Callable[[re.Match[str]], T]]:
        """Register a function for all names that fully match `pattern`; `examples` are listed and matched by globs."""

        def add(make: Callable[[re.Match[str]], T]) -> Callable[[re.Match[str]], T]:
            self._families.append((re.compile(pattern, re.DOTALL), make))  # a directory may be called anything
            self._listed.update(dict.fromkeys(examples))
            return make

        return add

    def names(self) -> tuple[str, ...]:
        """Every listed name, in order of registration."""
        self._load_entry_points()
        return tuple(self._listed)

    def __getitem__(self, name: str) -> T:
        """The value of `name`; `UnknownNameError` names the nearest known ones."""
        found = self._find(name)
        if found is None:  # a broken package of somebody's stops no name that is known without it
            self._load_entry_points()
            found = self._find(name)
        if found is None:
            raise UnknownNameError(self.kind, name, self._listed)
        return found

    def _find(self, name: str) -> T | None:
        if name in self._exact:
            return self._exact[name]
        found = ((pattern.fullmatch(name), make) for pattern, make in self._families)
        return next((make(match) for match, make in found if match), None)

    def select(self, patterns: Iterable[str]) -> tuple[str, ...]:
        """Names for `patterns`: each a name, a comma list or a glob; order kept, repeats dropped, all of them known."""
        chosen: dict[str, None] = {}
        for pattern in (part.strip() for entry in patterns for part in entry.split(",")):
            if not pattern:
                continue
            if _GLOB.search(pattern):
                matched = fnmatch.filter(self.names(), pattern)
                if not matched:
                    raise UnknownNameError(self.kind, pattern, self._listed)
                chosen.update(dict.fromkeys(matched))
            else:
                _ = self[pattern]
                chosen[pattern] = None
        return tuple(chosen)

    def _load_entry_points(self) -> None:
        if not self._entry_points_loaded:
            self._entry_points_loaded = True
            for entry_point in entry_points(group=f"benchsuite.{self.kind}s"):
                _load(entry_point)


def _load(entry_point: EntryPoint) -> None:
    try:
        entry_point.load()
    except Exception as error:  # a stranger's module may raise anything
        raise UsageError(
            f"the entry point {entry_point.name} = {entry_point.value} ({entry_point.group}) cannot be loaded: "
            f"{reason_of(error)}; mend or uninstall the package that has it"
        ) from error
