"""Datasets by name: `datasets["wikitext2"].load("test", None)`."""

from __future__ import annotations

from benchsuite.data.examples import Source
from benchsuite.registry import Registry

datasets: Registry[Source] = Registry("dataset")

from benchsuite.data import embedded as _embedded  # noqa: E402, F401  registers prose, arithmetic, headlines, instructions
from benchsuite.data import files as _files  # noqa: E402, F401  registers files: lm:notes.txt …
from benchsuite.data import hub as _hub  # noqa: E402, F401  registers wikitext2, gsm8k, ag_news …
