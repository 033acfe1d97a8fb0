"""A record comes back as it was written, and a damaged one is refused by name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import benchsuite
from benchsuite.errors import FileFormatError, NumericalError
from benchsuite.record import KEY, Cell, Items, Metric, Record, Rounds, Values, Windows, from_json, to_json
from benchsuite.records import read_records

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.floats(1e-100, 1e100)


def arrays(values: list[float], dtype: str) -> Any:
    return np.array(values, dtype=dtype)


@st.composite
def evidence(draw: st.DrawFn) -> Items | Windows | Values | Rounds:
    n = draw(st.integers(0, 20))
    floats = arrays(draw(st.lists(FLOATS, min_size=n, max_size=n)), "<f8")
    integers = arrays(draw(st.lists(st.integers(-(2**62), 2**62), min_size=n, max_size=n)), "<i8")
    kinds = [
        Items(arrays(draw(st.lists(st.booleans(), min_size=n, max_size=n)), "?")),
        Windows(floats, integers, integers[::-1].copy()),
        Values(floats, integers),
        Values(floats, integers, integers[::-1].copy()),
        Rounds(arrays(draw(st.lists(TIMES, min_size=1, max_size=20)), "<f8"), draw(TIMES)),
    ]
    return draw(st.sampled_from(kinds))


def record_with(metric: Metric) -> Record:
    cell = Cell("perplexity", "tiny", "fp32", "prose", batch_size=8, options=(("compile", "on"),))
    return Record(cell, {"figure": metric}, fingerprints={"data": "1"}, samples=[{"prompt": "a"}], excluded={"long": 2})


@given(evidence(), FLOATS, st.none() | st.tuples(FLOATS, FLOATS))
def test_a_record_survives_the_way_through_strict_json(
    found: Items | Windows | Values | Rounds, value: float, interval: tuple[float, float] | None
) -> None:
    record = record_with(Metric(value, "ppl", "lower", interval, 3, found))
    back = from_json(json.loads(json.dumps(to_json(record), allow_nan=False)), "here")
    assert back.cell == record.cell
    assert back.cell.key() == record.cell.key()
    metric = back.metrics["figure"]
    assert (metric.value, metric.interval, metric.unit, metric.n) == (value, interval, "ppl", 3)
    assert type(metric.evidence) is type(found)
    for name, array in vars(found).items():
        np.testing.assert_array_equal(getattr(metric.evidence, name), array)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_an_error_that_names_the_metric(value: float) -> None:
    with pytest.raises(NumericalError, match="figure"):
        to_json(record_with(Metric(value, "ppl", "lower")))
    with pytest.raises(NumericalError, match="figure"):
        to_json(record_with(Metric(1.0, "tok/s", "higher", evidence=Rounds(np.array([value]), 1))))


def damage(**changes: Any) -> dict[str, Any]:
    return {**to_json(record_with(Metric(1.0, "ppl", "lower", evidence=Items(np.array([True]))))), **changes}


def with_metric(**changes: Any) -> dict[str, Any]:
    return damage(metrics={"figure": {**damage()["metrics"]["figure"], **changes}})


def with_evidence(**evidence: Any) -> dict[str, Any]:
    return with_metric(evidence=evidence)


def with_cell(**changes: Any) -> dict[str, Any]:
    return damage(cell={**damage()["cell"], **changes})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (damage(schema=99), "schema 99"),
        ({"cell": {}}, "schema None"),
        (damage(cell={"colour": "red"}), "not a whole record"),
        (damage(metrics={"x": {"value": 1}}), "not a whole record"),
        (damage(coverage=[1]), "not a whole record"),
        (with_evidence(kind="items", bits="", n=9), "fewer outcomes"),
        (with_evidence(kind="rounds", seconds="%%", work=1), "base64"),
        (with_evidence(kind="dreams"), "dreams"),
        (with_evidence(kind="values", values="", cluster="", sizes="AAAAAAAAAAA="), "different lengths"),
        (with_evidence(kind="rounds", seconds="", work=1), "no time"),
        (with_evidence(kind="rounds", seconds="AAAAAAAA8D8=", work=0), "no work"),
        (with_evidence(kind="rounds", seconds="LUMc6+I2Gj8=", work=1e308), "more in a second than a number can be"),
        (damage(status="lost"), "unknown status 'lost'"),
        (damage(fingerprints={"data": []}), "no text"),
        (with_cell(engine=None), "no text"),
        (with_cell(attention=5), "no text"),
        (with_cell(batch_size=[]), "no whole number"),
        (with_cell(limit="all"), "no whole number"),
        (with_metric(unit={}), "unit is no text"),
        (with_metric(better="more"), "known good direction"),
        (
            damage(metrics={"x": {"value": 1, "unit": "", "better": None, "n": 1, "evidence": None, "interval": [1]}}),
            "not a whole record",
        ),
    ],
)
def test_a_damaged_record_is_refused_with_its_place(data: dict[str, Any], message: str) -> None:
    with pytest.raises(FileFormatError, match=f"out.json.*{message}"):
        from_json(data, "out.json, test_x")


@pytest.mark.parametrize("name", ["status", "details", "cell", "question", "engine", "limit", "options", "sizes"])
def test_a_record_that_lacks_a_field_is_refused_by_the_fields_name(name: str) -> None:
    data = with_evidence(kind="values", values="", cluster="", sizes=None)
    for holder in (data, data["cell"], data["metrics"]["figure"]["evidence"]):
        holder.pop(name, None)
    with pytest.raises(FileFormatError, match=f"out.json.*KeyError: '{name}'"):
        from_json(data, "out.json, test_x")


def write(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def file_of(*records: Record, unmeasured: tuple[Record, ...] = ()) -> dict[str, Any]:
    benchmarks = [{"name": "test_x", "extra_info": {KEY: to_json(record)}} for record in records]
    return {"benchmarks": benchmarks, KEY: {"unmeasured": [to_json(record) for record in unmeasured]}}


def test_a_file_loads_into_pandas_with_one_call(tmp_path: Path) -> None:
    metric = Metric(2.0, "ppl", "lower", (1.0, 3.0), 5)
    failed = Record(Cell("perplexity", "tiny", "bf16", "prose"), status="failed", reason="NaN")
    path = write(tmp_path / "out.json", file_of(record_with(metric), unmeasured=(failed,)))
    row, unmeasured = benchsuite.load_records(path).to_dict("records")
    assert (unmeasured["precision"], unmeasured["status"], unmeasured["reason"]) == ("bf16", "failed", "NaN")
    assert row == {
        "question": "perplexity", "model": "tiny", "precision": "fp32", "dataset": "prose", "engine": "native",
        "attention": "sdpa", "batch_size": 8, "device": "cpu", "limit": None, "compile": "on", "status": "passed",
        "reason": "", "metric": "figure", "value": 2.0, "unit": "ppl", "better": "lower", "low": 1.0, "high": 3.0,
        "n": 5,
    }  # fmt: skip
    assert [record.status for record in read_records(path)] == ["passed", "failed"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"benchmarks": [', "not a whole JSON file"),
        ('{"benchmarks": NaN}', "NaN is not JSON"),
        ("[]", "not a file of pytest-benchmark"),
        ('{"benchmarks": [{"name": "a", "extra_info": {}}]}', "no record of benchsuite"),
        ('{"benchmarks": [{"extra_info": null}, {"extra_info": "benchsuite"}, 1]}', "no record of benchsuite"),
        ('{"benchmarks": [], "benchsuite": null}', "no record of benchsuite"),
        ('{"benchmarks": [], "benchsuite": {"unmeasured": [1]}}', "a record of schema None"),
        (b"\xff\xfe", "not a whole JSON file"),
    ],
)
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "out.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FileFormatError, match=message):
        read_records(path)


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no such file"):
        read_records(tmp_path / "nowhere.json")
