"""Prompts are written as those whom they come from wrote them."""

from __future__ import annotations

from benchsuite.data.examples import Instruction
from benchsuite.data.prompts import instruction_prompt


def test_the_input_of_an_instruction_stands_in_a_section_of_its_own() -> None:
    prompt = instruction_prompt(Instruction("Spell.", "cat", ""))
    assert prompt.endswith("### Instruction:\nSpell.\n\n### Input:\ncat\n\n### Response:\n")


def test_an_instruction_without_input_has_no_section_for_it() -> None:
    assert instruction_prompt(Instruction("Spell.", "", "")).endswith("### Instruction:\nSpell.\n\n### Response:\n")
