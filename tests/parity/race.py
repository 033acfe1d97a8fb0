"""Our evaluations beside lm-evaluation-harness and `model.generate`, in turns, each in a fresh process.

    python tests/parity/race.py wikitext2 --model DIR     all documents of WikiText-2 test, against the harness
    python tests/parity/race.py windows --model DIR       token perplexity at two strides, against transformers alone
    python tests/parity/race.py gsm8k --model DIR         100 five-shot problems, 64 tokens each, against model.generate

Seconds are the median of the rounds without loading; the peak is that of the whole process. Needs the data in the
Hugging Face cache, and lm-eval for the first.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = 2
NEW_TOKENS = 64
PROBLEMS = 100
Side = Callable[[Path, int], tuple[Callable[[], Any], Callable[[Any], str]]]  # (run, what to call its result)


def ours(path: Path) -> Any:
    """The model as `pytest bench` has it."""
    from benchsuite.models.in_precision import load

    return load(str(path.resolve()), "fp32", "cpu", "sdpa")[0]


def wikitext2_ours(path: Path, batch_size: int) -> Any:
    from benchsuite.data import datasets
    from benchsuite.evals import perplexity

    model, examples = ours(path), datasets["wikitext2"].load("test", None)
    return (
        lambda: perplexity.evaluate(model, examples, batch_size=batch_size, protocols=("document",)),
        lambda found: f"word perplexity {found.metrics['word_perplexity'].value:.6f}",
    )


def wikitext2_theirs(path: Path, batch_size: int) -> Any:
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    from benchsuite.data import datasets

    rows = [{"page": item.original} for item in datasets["wikitext2"].load("test", None).items]  # type: ignore[union-attr]
    folder = Path(tempfile.mkdtemp())
    (folder / "test.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    files = dict.fromkeys(("train", "validation", "test"), str(folder / "test.jsonl"))
    task = {
        "include": str(Path(lm_eval.__file__).parent / "tasks" / "wikitext" / "wikitext.yaml"),
        "task": "wikitext",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
    }
    (folder / "wikitext.yaml").write_text(json.dumps(task), encoding="utf-8")
    model = HFLM(pretrained=str(path), device="cpu", dtype="float32", batch_size=batch_size)
    return (
        lambda: lm_eval.simple_evaluate(model=model, tasks=[str(folder / "wikitext.yaml")], bootstrap_iters=0),
        lambda found: f"word perplexity {found['results']['wikitext']['word_perplexity,none']:.6f}",
    )


def windows_ours(path: Path, batch_size: int) -> Any:
    from benchsuite.data import datasets
    from benchsuite.evals import perplexity

    model, examples = ours(path), datasets["wikitext2"].load("test", None)

    def name(found: Any) -> str:
        values = [found.metrics[name].value for name in ("perplexity", "perplexity_stride512")]
        return f"{found.details['tokens']} tokens, perplexity {values[0]:.6f}, at stride 512 {values[1]:.6f}"

    return (
        lambda: perplexity.evaluate(model, examples, batch_size=batch_size, protocols=("token", "stride512")),
        name,
    )


def windows_theirs(path: Path, batch_size: int) -> Any:
    import torch
    import transformers
    from sliding_perplexity import sliding_perplexity

    from benchsuite.data.hub import fetch
    from benchsuite.models.tokenizer import load_tokenizer

    model = transformers.GPT2LMHeadModel.from_pretrained(path, dtype=torch.float32).eval()
    ids = load_tokenizer(path).encode("\n\n".join(fetch("Salesforce/wikitext", "wikitext-2-raw-v1", "test")["text"]))
    context = model.config.n_positions

    def run() -> list[float]:
        return [sliding_perplexity(model, ids, context, stride) for stride in (context, 512)]

    return run, lambda found: f"{len(ids)} tokens, perplexity {found[0]:.6f}, at stride 512 {found[1]:.6f}"


def _prompts(path: Path) -> tuple[Any, list[list[int]]]:
    from benchsuite.data import datasets
    from benchsuite.data.prompts import exact_match_prompt
    from benchsuite.models.tokenizer import load_tokenizer

    examples = datasets["gsm8k"].load("test", PROBLEMS)
    texts = [exact_match_prompt(item, examples.shots) for item in examples.items]  # type: ignore[arg-type]
    return examples, load_tokenizer(path).encode_batch(texts)


def _digest(rows: list[list[int]]) -> str:
    return f"tokens {hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]}"


def gsm8k_ours(path: Path, batch_size: int) -> Any:
    from benchsuite.data.examples import Problem
    from benchsuite.data.prompts import exact_match_prompt
    from benchsuite.evals.answers import tokenized
    from benchsuite.models.language_model import generate

    model, (examples, rows) = ours(path), _prompts(path)
    texts = [exact_match_prompt(item, examples.shots) for item in examples.items]
    prompts = tokenized(model, texts, common=exact_match_prompt(Problem("", ""), examples.shots), room=NEW_TOKENS)

    def run() -> list[list[int]]:
        new: dict[int, list[int]] = {}
        for prefix, indices in prompts.groups():
            asked = [prompts.rows[index] for index in indices]
            for at, tokens in generate(model, asked, max_new_tokens=NEW_TOKENS, batch_size=batch_size, prefix=prefix):
                new[indices[at]] = tokens
        return [new[index] for index in range(len(rows))]

    return run, _digest


def gsm8k_theirs(path: Path, batch_size: int) -> Any:
    import torch
    import transformers

    model = transformers.GPT2LMHeadModel.from_pretrained(path, dtype=torch.float32).eval()
    _, rows = _prompts(path)
    end = model.config.eos_token_id
    rows = [row[-(model.config.n_positions - NEW_TOKENS) :] for row in rows]

    def run() -> list[list[int]]:
        new: list[list[int]] = []
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            width = max(map(len, batch))
            ids = torch.tensor([[end] * (width - len(row)) + row for row in batch])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch])
            with torch.inference_mode():
                found = model.generate(
                    ids, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=end
                )
            rows_found = found[:, width:].tolist()
            new += [tokens[: tokens.index(end)] if end in tokens else tokens for tokens in rows_found]
        return new

    return run, _digest


SIDES: dict[str, dict[str, Side]] = {
    "wikitext2": {"benchsuite": wikitext2_ours, "lm-eval": wikitext2_theirs},
    "windows": {"benchsuite": windows_ours, "transformers": windows_theirs},
    "gsm8k": {"benchsuite": gsm8k_ours, "model.generate": gsm8k_theirs},
}


def main() -> None:
    """Run one side in this process, or all sides in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("race", choices=SIDES)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        import torch

        torch.set_num_threads(THREADS)
        run, name = SIDES[options.race][options.side](options.model, options.batch_size)
        start = time.perf_counter()
        found = run()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "peak_rss_bytes": peak, "found": name(found)}))
        return
    found_by: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES[options.race]}
    for _ in range(options.rounds):
        for side, results in found_by.items():
            command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
            output = subprocess.run(command, check=False, capture_output=True, text=True)
            if output.returncode:
                parser.error(f"{side}: {output.stderr.strip().splitlines()[-1]}")
            results.append(json.loads(output.stdout.splitlines()[-1]))
            print(f"{side}: {results[-1]}", flush=True)
    for side, results in found_by.items():
        seconds = statistics.median(result["seconds"] for result in results)
        peak = max(result["peak_rss_bytes"] for result in results)
        print(f"{side:16} {seconds:8.1f} s  peak {peak / 1e6:7.0f} MB  {results[-1]['found']}")


if __name__ == "__main__":
    main()
