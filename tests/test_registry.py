"""Names, globs, families and the nearest known name."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from benchsuite.errors import UnknownNameError, UsageError
from benchsuite.registry import Registry


@pytest.fixture
def colours() -> Registry[str]:
    registry: Registry[str] = Registry("colour")
    registry.register("red", "#f00")
    registry.register("green", "#0f0")

    @registry.family(r"grey(\d+)", examples=["grey50"])
    def grey(match: re.Match[str]) -> str:
        return f"grey of {match[1]} %"

    return registry


def test_a_family_makes_what_its_pattern_matches(colours: Registry[str]) -> None:
    assert colours["grey7"] == "grey of 7 %"
    assert colours.names() == ("red", "green", "grey50")


def test_globs_and_comma_lists_select_in_order_without_repeats(colours: Registry[str]) -> None:
    assert colours.select(["gr*,red", "green", "grey3"]) == ("green", "grey50", "red", "grey3")


@pytest.mark.parametrize("name", ["rde", "grey", "greyx", "blu*"])
def test_an_unknown_name_is_an_error_that_names_the_known(colours: Registry[str], name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown colour '.*known: red, green, grey50"):
        colours.select([name])


def test_the_nearest_name_is_suggested(colours: Registry[str]) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'green'"):
        colours["gren"]


def test_a_name_is_registered_once(colours: Registry[str]) -> None:
    with pytest.raises(UsageError, match="registered twice"):
        colours.register("red", "#e00")
    with pytest.raises(UsageError, match="registered twice"):
        colours.register("grey7", "#777")  # the family's


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module"),
        ("raise ValueError('boom')", "ValueError: boom"),
        ("def (", "SyntaxError: invalid syntax"),
        ("value = 1", "AttributeError: .*no attribute 'blue'"),
    ],
)
def test_a_broken_package_is_named_and_stops_no_name_that_is_known_without_it(
    colours: Registry[str], code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_colours.py").write_text(code)
    installed = tmp_path / "broken-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[benchsuite.colours]\nblue = broken_colours:blue\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert colours.select(["red"]) == ("red",)
    with pytest.raises(UsageError, match=rf"blue = broken_colours:blue .* cannot be loaded: {said}.*; mend or unin"):
        colours["blue"]
    monkeypatch.delitem(sys.modules, "broken_colours", raising=False)
