"""docs/fit.md is what the code says."""

from __future__ import annotations

from components.plan.machines import MACHINES
from scripts.command import PROJECT
from scripts.fit_table import FILE, TYPES, longest_context, text


def test_the_table_in_the_docs_is_what_the_rules_say() -> None:
    assert (PROJECT / FILE).read_text(encoding="utf-8") == text(), "make fit-table"


def test_it_has_at_least_twelve_models_and_six_machines() -> None:
    rows = [line for line in text().splitlines() if line.startswith("| ") and not line.startswith("| model")]
    assert len(rows) >= 12
    assert len(TYPES) >= 6
    assert {len(row.split("|")) for row in rows} == {len(TYPES) + 4}


def test_more_memory_never_holds_less() -> None:
    small, large = MACHINES["g5.xlarge"], MACHINES["g6e.xlarge"]
    assert 0 < longest_context("qwen2.5:14b", small) < longest_context("qwen2.5:14b", large)
    assert longest_context("llama3.1:70b", small) == 0
