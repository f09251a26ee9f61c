"""What a check says: fine, a problem with its mend, or that it could not look."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from doctor.subject import Subject

Status = Literal["ok", "problem", "unknown", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing seen, in one line. With a `mend` (an exact command where there is one) it is a problem.

    `details` are lines such as the last ones of a log; `fix` does what `--fix` may do by itself and returns what it
    did, in one line.
    """

    seen: str
    mend: str = ""
    details: tuple[str, ...] = ()
    fix: Callable[[], str] | None = None


class NoGroundError(Exception):
    """What a check looks at is not there, and another check says so; the text names that one."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """`name` is stable (`nvidia.driver`); `title` says what is looked at, `why` what goes wrong where it is not well.

    `look` gives findings: none at all or only fine ones mean that all is well. It raises `StackError` where it could
    not look, and `NoGroundError` where there is nothing to look at. `after` are the checks without which it cannot
    look; `concerns` tells whether a stack has what it is about.
    """

    name: str
    title: str
    why: str
    look: Callable[[Subject], Iterable[Finding]]
    after: tuple[str, ...] = ()
    concerns: Callable[[Subject], bool] = lambda _subject: True


@dataclass(frozen=True, kw_only=True)
class Result:
    """A check's outcome. `unknown`: it could not look; `skipped`: a check that it builds on found no ground to stand
    on. `fixed` is what `--fix` did, in a sentence each."""

    check: Check
    status: Status
    findings: tuple[Finding, ...] = ()
    fixed: tuple[str, ...] = ()
