"""`python -m doctor [--stack S] [--json] [--fix]`, and `python -m doctor detect`: see the package."""

from __future__ import annotations

import argparse
import sys

from components.errors import StackError
from doctor.checks import CHECKS
from doctor.detect import proposal
from doctor.examine import examine, exit_code
from doctor.finding import Result
from doctor.render import as_json, line, summary
from doctor.subject import Subject
from scripts.command import arguments, existing

COULD_NOT_LOOK = 2


def main() -> int:
    parser = arguments("Looks at a stack, says what is wrong with it and how to mend it.")
    parser.add_argument("what", nargs="?", choices=["detect"], help="detect: propose this machine's accelerator")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.add_argument("--fix", action="store_true", help="mend what can be mended without losing anything")
    options = parser.parse_args()
    try:
        if options.what == "detect":
            print("\n".join(proposal(_subject(options.stack, must_be_up=False))))
            return 0
        return _examine(options)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return COULD_NOT_LOOK


def _examine(options: argparse.Namespace) -> int:
    subject = _subject(options.stack, must_be_up=True)
    results: list[Result] = []
    try:
        for result in examine(subject, CHECKS, fix=options.fix):
            results.append(result)
            if not options.json:
                print(line(result, colour=sys.stdout.isatty()), flush=True)
    finally:
        subject.close()
    code = exit_code(results)
    print(as_json(options.stack, results, code) if options.json else f"\n{summary(results)}")
    return code


def _subject(stack: str, *, must_be_up: bool) -> Subject:
    """Raises `StackError` when the stack file cannot be read, or the stack was never up."""
    command = existing(stack)
    try:
        outputs = command.runner.outputs()
    except StackError:
        # A stack that never came up has an engine and a machine to look at all the same.
        if must_be_up and command.settings.host.type == "aws":
            raise
        outputs = {}
    return Subject(stack, command.settings, outputs)


if __name__ == "__main__":
    sys.exit(main())
