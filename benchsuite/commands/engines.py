"""`benchsuite engines`: our engine beside those that a user would pick instead."""

from __future__ import annotations

import functools
from pathlib import Path

import click


@click.command()
@click.argument("engines", nargs=-1, required=True, metavar="ENGINE:FORMAT...")
@click.option("--model", default="random:gpt2", show_default=True, help="A GPT-2: its weights go to every engine.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1), help="Rounds of the clock.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of each engine (default: PyTorch's).")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Also write every round's seconds here.")
def command(engines: tuple[str, ...], model: str, rounds: int, threads: int | None, file: Path | None) -> None:
    """Time ENGINES on the same prompts, interleaved; ratios are to the first.

    For example: benchsuite engines native:w8a8-head8 ctranslate2:int8 llama-cpp:Q8_0 transformers:bnb-int8
    """
    from dataclasses import asdict

    import torch
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table

    from benchsuite.engines import start_engine
    from benchsuite.engines.source import open_source
    from benchsuite.errors import UnavailableError
    from benchsuite.files import require_writable, write_json
    from benchsuite.measure.generation import require_context
    from benchsuite.measure.race import NEW_TOKENS, PREFILL_TOKENS, PROMPT_TOKENS, race

    require_writable(file, "--json")
    threads = threads or torch.get_num_threads()
    source = open_source(model)
    require_context(model, source.n_positions, PROMPT_TOKENS, NEW_TOKENS)
    starts = {name: functools.partial(start_engine, name, source, threads=threads) for name in engines}
    lanes, missing = {}, dict[str, str]()
    tokens = min(PREFILL_TOKENS, source.n_positions)
    running = race(starts, vocab_size=source.vocab_size, rounds=rounds, prefill_tokens=tokens, missing=missing)
    for work, number, known in running:
        lanes = known
        if file:  # after every round: an interrupted race keeps what it has
            write_json(file, {"model": model, "threads": threads, "lanes": {k: asdict(v) for k, v in lanes.items()}})
        click.echo(f"{work}, round {number} of {rounds}", err=True)
    for name, reason in missing.items():
        click.echo(f"{name}: skipped: {reason}")
    if not lanes:
        raise UnavailableError("no engine was measured; the lines above say why")
    columns = ("prefill\ntok/s", "ratio", "decode\ntok/s", "ratio", "same\ntokens")
    table = Table(
        Column("engine", overflow="fold"),
        *(Column(name, justify="right", no_wrap=True) for name in columns),
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    first = next(iter(lanes.values()))
    for name, lane in lanes.items():
        same = sum(a == b for a, b in zip(lane.tokens, first.tokens, strict=True))
        table.add_row(
            name,
            f"{lane.prefill_tokens_per_s:,.0f}",
            f"{first.prefill_tokens_per_s / lane.prefill_tokens_per_s:.2f}",
            f"{lane.decode_tokens_per_s:,.1f}",
            f"{first.decode_tokens_per_s / lane.decode_tokens_per_s:.2f}",
            f"{same}/{len(lane.tokens)}",
        )
    Console().print(table)
