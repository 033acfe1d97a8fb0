"""The table of docs/quantizers.md: token perplexity, size and what is lost, precision by precision.

    python tests/quant/table.py DIR --dataset wikitext2 --precision absmax8-row,gptq4-g128 --kept FILE

Each finished precision is kept in FILE, so that a run can be interrupted and goes on where it was; the table is of all
that FILE holds, against fp32, which comes first.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchsuite.data import datasets
from benchsuite.errors import BenchsuiteError
from benchsuite.evals.perplexity import evaluate
from benchsuite.files import write_json
from benchsuite.models.in_precision import load
from benchsuite.quant.apply import size_bytes
from benchsuite.report.bar import bar


def measure(model: str, precision: str, dataset: str) -> dict[str, float]:
    loaded, covered = load(model, precision, "cpu", "sdpa")
    with bar(precision) as step:
        examples = datasets[dataset].load("test", None)
        found = evaluate(loaded, examples, batch_size=8, progress=step, protocols=("token",))
    return {
        "perplexity": found.metrics["perplexity"].value,
        "bits": covered.bits_per_weight,
        "linear": covered.linear_weights * covered.bits_per_weight / 8,
        "bytes": size_bytes(loaded.module),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--precision", default="")
    parser.add_argument("--dataset", default="wikitext2")
    parser.add_argument("--kept", type=Path, required=True)
    asked = parser.parse_args()
    kept = json.loads(asked.kept.read_text()) if asked.kept.exists() else {}
    for name in dict.fromkeys(["fp32", *filter(None, asked.precision.split(","))]):
        if name not in kept:
            try:
                kept[name] = measure(asked.model, name, asked.dataset)
            except BenchsuiteError as error:
                parser.error(str(error))
            write_json(asked.kept, kept)
    true = kept["fp32"]["perplexity"]
    print("| precision | perplexity | change | bits per weight | linear weights | whole model |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, row in kept.items():
        change = f"{row['perplexity'] / true - 1:+.3%}".replace("%", " %") if name != "fp32" else ""
        sizes = f"{row['linear']:,.0f} B | {row['bytes']:,} B"
        print(f"| `{name}` | {row['perplexity']:.3f} | {change} | {row['bits']:.3f} | {sizes} |")


if __name__ == "__main__":
    main()
