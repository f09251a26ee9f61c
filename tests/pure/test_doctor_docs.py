"""docs/doctor.md names every check, and no check that is not there."""

from __future__ import annotations

import re

from doctor.checks import CHECKS
from scripts.command import PROJECT

TEXT = (PROJECT / "docs" / "doctor.md").read_text(encoding="utf-8")
NAMES = {check.name for check in CHECKS}


def test_the_table_has_every_check_in_the_order_in_which_they_are_run() -> None:
    table = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", TEXT, re.MULTILINE)
    assert table == [check.name for check in CHECKS]


def test_every_name_in_the_tables_of_troubles_is_a_check() -> None:
    troubles = TEXT.partition("## The report's troubleshooting")[2]
    kinds = "|".join(sorted({name.partition(".")[0] for name in NAMES}))
    named = set(re.findall(rf"`((?:{kinds})\.[a-z_]+)`", troubles))
    assert named <= NAMES
    assert len(named) >= 20


def test_every_part_of_the_reports_section_has_a_row() -> None:
    for part in (
        "GPU not detected",
        "GPU detected but not used",
        "Permission errors (AMD)",
        "Container startup failures",
        "Driver mismatch",
        "Docker Compose GPU error",
        "Model loading failures",
    ):
        assert f"| {part}" in TEXT, part
