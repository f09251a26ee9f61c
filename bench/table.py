"""Numbers to compare, what they are compared with, and whether that holds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Line:
    """One claim: `ours` against `rival` (in `unit`), the number that follows, and its bound."""

    what: str
    ours: str
    rival: str
    result: str
    target: str
    holds: bool


def at_least(what: str, ours: float, rival: float, ratio: float, unit: str) -> Line:
    """More is better: `ours` over `rival`."""
    found = ours / rival if rival else float("inf")
    return Line(
        what=what,
        ours=f"{ours:,.4g} {unit}",
        rival=f"{rival:,.4g} {unit}",
        result=f"{found:.2f} x",
        target=f">= {ratio:g} x",
        holds=found >= ratio,
    )


def at_most(what: str, found: float, bound: float, unit: str, *, ours: str = "", rival: str = "") -> Line:
    """Less is better."""
    return Line(
        what=what, ours=ours, rival=rival, result=f"{found:.3g} {unit}", target=f"<= {bound:g} {unit}",
        holds=found <= bound,
    )  # fmt: skip


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def show(title: str, lines: Sequence[Line]) -> None:
    header = Line(what=title, ours="ours", rival="beside it", result="result", target="target", holds=True)
    rows = [(one.what, one.ours, one.rival, one.result, one.target) for one in (header, *lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row, line in zip(rows, (header, *lines), strict=True):
        verdict = "" if line is header else ("PASS" if line.holds else "FAIL")
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)), verdict, sep="  ")
    print()


def save(file: Path, lines: Sequence[Line]) -> None:
    file.write_text(json.dumps([asdict(line) for line in lines], indent=2) + "\n", encoding="utf-8")
