"""The house stands as docs/design.md draws it: a room imports only from rooms above it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "benchsuite"
FREE = {Path("__init__.py"), Path("__main__.py"), Path("models/tiny/scores.py")}  # the last writes the model card


def rooms() -> list[str]:
    """The rooms of the drawing, from the top."""
    drawing = (ROOT / "docs" / "design.md").read_text().split("\nbenchsuite/\n")[1].split("\nbench/")[0]
    return re.findall(r"^  (\w+)(?:\.py|/) ", drawing, re.MULTILINE)


def imports(file: Path) -> Iterator[str]:
    """The rooms that a file imports from, in its functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "benchsuite":
            inner = (node.module or "").split(".")[1:2]
            yield from inner or (alias.name for alias in node.names)


def test_every_room_is_drawn() -> None:
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert set(rooms()) == found - {"__init__", "__main__"}


def test_a_room_imports_only_from_rooms_above_it() -> None:
    order = rooms()
    wrong = []
    for file in PACKAGE.rglob("*.py"):
        place = file.relative_to(PACKAGE)
        if place not in FREE:
            own = place.parts[0].removesuffix(".py")
            above = {own, "__version__", *order[: order.index(own)]}
            wrong += [f"{place} imports {room}" for room in imports(file) if room not in above]
    assert not wrong
