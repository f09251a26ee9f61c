"""How checks are run, what they make the doctor's exit code, and how both voices say it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.errors import StackError
from doctor.checks import CHECKS
from doctor.examine import examine, exit_code
from doctor.finding import Check, Finding, NoGroundError, Result
from doctor.render import as_json, line, summary
from doctor.shell import Shell
from doctor.subject import Subject
from tests.pure.doctor_subject import played


def check(name: str, *findings: Finding | Exception, after: tuple[str, ...] = (), concerned: bool = True) -> Check:
    def look(_subject: Subject) -> Iterator[Finding]:
        for finding in findings:
            if isinstance(finding, Exception):
                raise finding
            yield finding

    return Check(
        name=name, title=f"title of {name}", why="because", look=look, after=after, concerns=lambda _: concerned
    )


FINE = Finding(seen="all well")
BROKEN = Finding(seen="it broke", mend="make up", details=("last line",))
BLIND = StackError("nobody answers", "start it")


def run(tmp_path: Path, *checks: Check, fix: bool = False) -> list[Result]:
    return list(examine(played(tmp_path / "bin", {}), checks, fix=fix))


def test_a_check_is_well_a_problem_or_could_not_look(tmp_path: Path) -> None:
    found = run(tmp_path, check("a", FINE), check("b", FINE, BROKEN), check("c", BLIND), check("d"))
    assert [result.status for result in found] == ["ok", "problem", "unknown", "ok"]
    assert found[2].findings == (Finding(seen="nobody answers", mend="start it"),)


def test_what_stands_on_a_check_that_is_not_well_is_skipped_and_so_on(tmp_path: Path) -> None:
    checks = (check("a", BROKEN), check("b", BROKEN, after=("a",)), check("c", FINE, after=("b",)), check("d", FINE))
    found = run(tmp_path, *checks)
    assert [result.status for result in found] == ["problem", "skipped", "skipped", "ok"]
    assert found[1].findings[0].seen == "not looked at, because of a"


def test_a_check_that_finds_nothing_to_look_at_is_skipped_and_names_who_says_why(tmp_path: Path) -> None:
    (found,) = run(tmp_path, check("a", NoGroundError("containers.running")))
    assert (found.status, found.findings[0].seen) == ("skipped", "not looked at, because of containers.running")


def test_a_check_that_does_not_concern_the_stack_is_not_run(tmp_path: Path) -> None:
    assert run(tmp_path, check("a", BROKEN, concerned=False)) == []


def test_a_check_that_breaks_takes_no_other_with_it(tmp_path: Path) -> None:
    found = run(tmp_path, check("a", ValueError("no digits")), check("b", FINE))
    assert [result.status for result in found] == ["unknown", "ok"]
    assert found[0].findings[0].seen == "the check itself failed: ValueError: no digits"


def test_only_with_fix_is_anything_mended_and_what_fails_is_said(tmp_path: Path) -> None:
    done: list[str] = []

    def mend() -> str:
        done.append("x")
        return "started it"

    def refuse() -> str:
        raise StackError("it would not start", "look")

    checks = (
        check("a", Finding(seen="down", mend="start", fix=mend)),
        check("b", Finding(seen="down", mend="start", fix=refuse)),
        check("c", Finding(seen="well", fix=mend)),
    )
    run(tmp_path, *checks)
    assert done == []
    found = run(tmp_path, *checks, fix=True)
    assert done == ["x"]
    assert [result.fixed for result in found] == [("started it",), ("could not be mended: it would not start",), ()]


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ((check("a", FINE),), 0),
        ((check("a", FINE), check("b", BROKEN), check("c", BLIND)), 1),
        ((check("a", FINE), check("b", BLIND)), 2),
        ((), 0),
    ],
)
def test_the_exit_code_says_healthy_problems_or_could_not_look(
    tmp_path: Path, checks: tuple[Check, ...], code: int
) -> None:
    assert exit_code(run(tmp_path, *checks)) == code


def test_a_line_per_check_and_details_only_of_what_is_not_well(tmp_path: Path) -> None:
    fine, bad = run(tmp_path, check("a.b", FINE), check("c.d", FINE, BROKEN))
    assert line(fine, colour=False) == "ok       a.b                      all well"
    assert line(bad, colour=False).splitlines() == [
        "PROBLEM  c.d                      it broke",
        "         why   because",
        "         mend  make up",
        "           | last line",
    ]
    assert "\033[31mPROBLEM" in line(bad, colour=True)
    assert "\033" not in line(bad, colour=False)
    assert summary([fine, bad]) == "1 ok, 1 problems, 0 not looked at"


def test_the_json_form_is_the_documented_one(tmp_path: Path) -> None:
    found = run(tmp_path, check("a.b", FINE), check("c.d", BROKEN))
    assert json.loads(as_json("dev", found, 1)) == {
        "form": 1,
        "stack": "dev",
        "exit": 1,
        "checks": [
            {
                "name": "a.b",
                "title": "title of a.b",
                "status": "ok",
                "why": "because",
                "findings": [{"seen": "all well", "mend": None, "details": [], "fixable": False}],
                "fixed": [],
            },
            {
                "name": "c.d",
                "title": "title of c.d",
                "status": "problem",
                "why": "because",
                "findings": [{"seen": "it broke", "mend": "make up", "details": ["last line"], "fixable": False}],
                "fixed": [],
            },
        ],
    }


def test_names_are_unique_and_every_check_comes_after_what_it_stands_on() -> None:
    names = [one.name for one in CHECKS]
    assert len(set(names)) == len(names)
    for index, one in enumerate(CHECKS):
        assert set(one.after) <= set(names[:index]), one.name
        assert one.why.endswith("."), one.name
        assert one.name.count(".") == 1


def test_a_command_that_is_not_there_or_does_not_end_is_an_answer(tmp_path: Path) -> None:
    shell = Shell(environment={"PATH": "/usr/bin:/bin"})
    absent = shell.run("no-such-command-here")
    assert (absent.code, absent.is_absent) == (127, True)
    assert shell.run("sleep", "5", timeout_s=0.1).code == 124
    assert shell.run("sh", "-c", "echo out; echo err >&2; exit 3") == type(absent)(code=3, text="out\nerr")
    assert shell.run("cat", stdin="fed").text == "fed"
    private = tmp_path / "tool"
    private.write_text("#!/bin/sh\n")
    assert shell.run(str(private)).code == 126
