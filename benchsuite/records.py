"""Reading benchmark files: `read_records` for code, `load_records` for pandas."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from benchsuite.errors import FileFormatError
from benchsuite.record import KEY, Record, from_json

if TYPE_CHECKING:
    import pandas


def read_records(path: Path | str) -> list[Record]:
    """Every record of a pytest-benchmark JSON file, in its order.

    Raises FileFormatError where the file cannot be read, is not strict JSON, or holds no record of benchsuite.
    """
    return records_of(read_document(path), path)


def read_document(path: Path | str) -> dict[str, Any]:
    """A pytest-benchmark JSON file as it stands; FileFormatError where it cannot be read or is none."""
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise FileFormatError(f"{path}: no such file; `pytest bench --benchmark-json={path}` writes one") from error
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError too
        raise FileFormatError(f"{path}: not a whole JSON file: {error}; measure again, or take a copy") from error
    if not isinstance(document, dict) or not isinstance(document.get("benchmarks"), list):
        raise FileFormatError(f"{path}: not a file of pytest-benchmark: it has no list `benchmarks`")
    return document


def records_of(document: Mapping[str, Any], path: Path | str) -> list[Record]:
    """Every record of a document that was read from `path`; FileFormatError where there is none, or a damaged one."""
    benchmarks = document["benchmarks"]
    found = [
        from_json(object_in(benchmark, "extra_info")[KEY], f"{path}, {benchmark.get('name', '?')}")
        for benchmark in benchmarks
        if KEY in object_in(benchmark, "extra_info")
    ]
    # cells that were skipped or failed have no benchmark of their own
    unmeasured = object_in(document, KEY).get("unmeasured") or []
    if not isinstance(unmeasured, list):
        raise FileFormatError(f"{path}: its `unmeasured` is no list of records")
    found += [from_json(entry, f"{path}, {KEY}") for entry in unmeasured]
    if not found:
        raise FileFormatError(
            f"{path}: no record of benchsuite in its {len(benchmarks)} benchmarks; was it `pytest bench`?"
        )
    return found


def load_records(path: Path | str) -> pandas.DataFrame:
    """A benchmark file as a table; see `table_of`."""
    return table_of(read_records(path))


def table_of(records: Iterable[Record]) -> pandas.DataFrame:
    """Records as a table: a row per cell and metric, and one without metric per cell that was not measured.

    Columns: question, model, precision, dataset, engine, attention, batch_size, device, limit, one per option, status,
    reason, metric, value, unit, better, low, high (the 95 % interval), n.
    """
    import pandas

    rows: list[dict[str, Any]] = []
    for record in records:
        cell = {**record.cell.columns(), "status": record.status, "reason": record.reason}
        if not record.metrics:
            rows.append(cell)
        for name, metric in record.metrics.items():
            low, high = metric.interval or (None, None)
            rows.append(
                cell
                | {"metric": name, "value": metric.value, "unit": metric.unit, "better": metric.better}
                | {"low": low, "high": high, "n": metric.n}
            )
    table: pandas.DataFrame = pandas.DataFrame(rows)
    return table


def object_in(data: Any, key: str) -> dict[str, Any]:
    """The JSON object that stands in `data` under `key`; empty where there is none."""
    found = data.get(key) if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
