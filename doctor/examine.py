"""Runs the checks in their order and keeps apart what is wrong from what could not be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from components.errors import StackError
from doctor.finding import Check, Finding, NoGroundError, Result
from doctor.subject import Subject


def examine(subject: Subject, checks: Sequence[Check], *, fix: bool = False) -> Iterator[Result]:
    """A result for every check that concerns the stack. With `fix`, what a finding can mend by itself is mended."""
    groundless: set[str] = set()
    for check in checks:
        if not check.concerns(subject):
            continue
        lacking = [name for name in check.after if name in groundless]
        result = _skipped(check, lacking[0]) if lacking else _look(subject, check, fix=fix)
        if result.status != "ok":
            groundless.add(check.name)
        yield result


def exit_code(results: Iterable[Result]) -> int:
    """0 healthy, 1 problems, 2 when something could not be looked at and nothing else is wrong."""
    seen = {result.status for result in results}
    return 1 if "problem" in seen else 2 if seen & {"unknown", "skipped"} else 0


def _skipped(check: Check, because: str) -> Result:
    return Result(check=check, status="skipped", findings=(Finding(seen=f"not looked at, because of {because}"),))


def _look(subject: Subject, check: Check, *, fix: bool) -> Result:
    try:
        findings = tuple(check.look(subject))
    except NoGroundError as error:
        return _skipped(check, str(error))
    except StackError as error:
        return Result(check=check, status="unknown", findings=(Finding(seen=error.cause, mend=error.mend),))
    # A check is somebody's only hope of an explanation: whatever breaks in one must not take the others with it.
    except Exception as error:
        broken = Finding(seen=f"the check itself failed: {type(error).__name__}: {error}", mend="report it")
        return Result(check=check, status="unknown", findings=(broken,))
    problems = [finding for finding in findings if finding.mend]
    fixed = tuple(_fix(finding) for finding in problems if finding.fix) if fix else ()
    return Result(check=check, status="problem" if problems else "ok", findings=findings, fixed=fixed)


def _fix(finding: Finding) -> str:
    try:
        return finding.fix() if finding.fix else ""
    except StackError as error:
        return f"could not be mended: {error.cause}"
