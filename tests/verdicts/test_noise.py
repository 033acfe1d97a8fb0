"""The noise floor of a machine is kept, and shrinks with the runs that are pooled."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from benchsuite.errors import FileFormatError
from benchsuite.record import Record
from benchsuite.stats import RunNoise
from benchsuite.verdicts.noise import NoiseFloor, Spread, kind, read_noise, write_noise

MakeRun = Callable[..., list[Record]]


def test_a_noise_floor_is_kept_beside_the_machines_fingerprint_and_damage_is_named() -> None:
    floor = NoiseFloor("m", {"generation/tokens_per_s": Spread(0.02, 0.01, 30, 8)})
    assert read_noise("m") is None
    path = write_noise(floor)
    assert read_noise("m") == floor
    path.write_text(path.read_text()[:-20])
    with pytest.raises(FileFormatError, match="benchsuite calibrate"):
        read_noise("m")


@pytest.mark.parametrize("figure", ["-1", "NaN", "1e999", f"1{'0' * 400}", '"x"', "null"])
@pytest.mark.parametrize("place", ["0.25", "0.125", "30", "8"])
def test_a_figure_that_no_spread_has_is_refused(place: str, figure: str) -> None:
    path = write_noise(NoiseFloor("m", {"a": Spread(0.25, 0.125, 30, 8)}))
    path.write_text(path.read_text().replace(f": {place}", f": {figure}"))
    with pytest.raises(FileFormatError, match=r"noise.*`benchsuite calibrate` again"):
        read_noise("m")


def test_no_degrees_of_freedom_are_none_and_no_spread_is_one() -> None:
    floor = NoiseFloor("m", {"a": Spread(0, 0, 1, 8)})
    path = write_noise(floor)
    assert read_noise("m") == floor
    path.write_text(path.read_text().replace('"df": 1', '"df": 0'))
    with pytest.raises(FileFormatError):
        read_noise("m")


def test_noise_shrinks_with_the_runs_that_were_pooled(make_run: MakeRun) -> None:
    cell = make_run()[0].cell
    spreads = {kind(cell, "x"): Spread(0.02, 0.01, 30, 8)}
    assert NoiseFloor("m", spreads).between(cell, "x") == RunNoise(0.02 * math.sqrt(2), 30)
    assert NoiseFloor("m", spreads, (4, 4)).between(cell, "x") == RunNoise(0.02 * math.sqrt(0.5), 30)
    assert NoiseFloor("m", spreads).between(cell, "y") is None


def test_calibrating_some_cells_keeps_what_is_known_of_others() -> None:
    first, second = Spread(0.01, 0.02, 4, 10), Spread(0.03, 0.04, 5, 10)
    path = write_noise(NoiseFloor("m", {"generation/tokens_per_s": first, "perplexity/tokens_per_s": first}))
    write_noise(NoiseFloor("m", {"perplexity/tokens_per_s": second}))
    found = read_noise("m")
    assert found is not None
    assert found.spreads == {"generation/tokens_per_s": first, "perplexity/tokens_per_s": second}
    path.write_text("damaged")
    write_noise(NoiseFloor("m", {"perplexity/tokens_per_s": second}))
    assert read_noise("m") == NoiseFloor("m", {"perplexity/tokens_per_s": second})
