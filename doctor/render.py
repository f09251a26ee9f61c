"""The doctor's two voices: lines for a terminal, and JSON of a stable form for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from doctor.finding import Finding, Result

# Version of the JSON form; a change that breaks a reader counts it up.
FORM = 1
_MARKS = {"ok": ("ok", "32"), "problem": ("PROBLEM", "31"), "unknown": ("unknown", "33"), "skipped": ("skipped", "90")}


def line(result: Result, *, colour: bool) -> str:
    """A line per check, and below it the details of what is not well."""
    word, code = _MARKS[result.status]
    mark = f"\033[{code}m{word:8}\033[0m" if colour else f"{word:8}"
    wrong = _wrong(result)
    shown = "; ".join(finding.seen for finding in wrong or result.findings) or result.check.title
    lines = [f"{mark} {result.check.name:24} {shown}"]
    if result.status in ("problem", "unknown"):
        lines.append(f"{'':9}why   {result.check.why}")
        for finding in wrong:
            lines += [f"{'':9}mend  {finding.mend}"] if finding.mend else []
            lines += [f"{'':9}  | {detail}" for detail in finding.details]
    lines += [f"{'':9}fixed {done}" for done in result.fixed]
    return "\n".join(lines)


def as_json(stack: str, results: Sequence[Result], code: int) -> str:
    """`{form, stack, exit, checks: [{name, title, status, why, findings: [{seen, mend, details, fixable}], fixed}]}`"""
    checks = [
        {
            "name": result.check.name,
            "title": result.check.title,
            "status": result.status,
            "why": result.check.why,
            "findings": [
                {
                    "seen": finding.seen,
                    "mend": finding.mend or None,
                    "details": list(finding.details),
                    "fixable": finding.fix is not None,
                }
                for finding in result.findings
            ],
            "fixed": list(result.fixed),
        }
        for result in results
    ]
    return json.dumps({"form": FORM, "stack": stack, "exit": code, "checks": checks}, indent=2)


def summary(results: Sequence[Result]) -> str:
    """One sentence over all checks."""
    count = {status: sum(result.status == status for result in results) for status in _MARKS}
    said = [f"{count['ok']} ok", f"{count['problem']} problems", f"{count['unknown'] + count['skipped']} not looked at"]
    return ", ".join(said)


def _wrong(result: Result) -> list[Finding]:
    if result.status == "problem":
        return [finding for finding in result.findings if finding.mend]
    return list(result.findings) if result.status == "unknown" else []
