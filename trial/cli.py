"""`python -m trial`: reads the command line, shows the result, turns every failure into one message and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pulumi

from components.errors import StackError
from trial.console import Console
from trial.kinds import Interrupted
from trial.runner import BANNER, COMMANDS, Result, run


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command and ends the process. With --json, standard output holds one JSON document and nothing else."""
    options = _parse(arguments)
    console = Console(sys.stderr if options.json else sys.stdout)
    console.line(BANNER)
    code = _run(options, console)
    sys.stdout.flush()
    sys.stderr.flush()
    # Steps that could not be stopped sit on threads that a normal exit would wait for; what they finished is recorded.
    os._exit(code)


def _run(options: argparse.Namespace, console: Console) -> int:
    try:
        if options.command == "destroy":
            _confirm(options)
        result = run(
            options.command,
            stack=options.stack,
            program=options.program,
            config_file=options.config_file,
            config=dict(options.config),
            console=console,
            ignore_protect=options.ignore_protect,
            exclude_protected=options.exclude_protected,
        )
        _show(result, options, console)
        return 0
    except (KeyboardInterrupt, Interrupted):
        console.line("interrupted; run again to converge")
        return 130
    except (StackError, pulumi.RunError) as error:
        return _fail(error, console, with_traceback=options.debug)
    except Exception as error:  # noqa: BLE001 - a mistake in the program or in this runner: where it happened is what helps
        return _fail_unexpectedly(error, console, Path(options.program).resolve(), whole=options.debug)


def _fail(error: Exception, console: Console, with_traceback: bool) -> int:
    if with_traceback:
        _print_traceback(traceback.format_exception(error), console)
    console.line(f"error: {error}")
    return 1


def _fail_unexpectedly(error: Exception, console: Console, folder: Path, whole: bool) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    inside = next((number for number, frame in enumerate(frames) if frame.filename.startswith(f"{folder}/")), 0)
    own = [frame for frame in frames[inside:] if "site-packages" not in frame.filename] if inside else frames
    _print_traceback(traceback.format_exception(error) if whole else traceback.format_list(own), console)
    console.line(f"error: {type(error).__name__}: {error}")
    return 1


def _print_traceback(parts: list[str], console: Console) -> None:
    for line in "".join(parts).rstrip().splitlines():
        console.line(line)


def _confirm(options: argparse.Namespace) -> None:
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise StackError("destroy deletes everything of the stack and needs a yes.", "run it again with `--yes`")
    print(f"This deletes everything of the stack {options.stack!r}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise StackError("Nothing was deleted.", "answer `y`, or give `--yes`")


def _show(result: Result, options: argparse.Namespace, console: Console) -> None:
    outputs = result.shown_outputs(options.show_secrets)
    if options.json:
        document = outputs if options.command == "outputs" else {
            "counts": result.counts, "changes": result.changes, "outputs": outputs, "seconds": round(result.seconds, 3),
        }  # fmt: skip
        text = json.dumps(document, indent=2)
        print(text if options.show_secrets else result.redact(text))
    elif outputs and options.command in ("up", "outputs"):
        console.line("Outputs:")
        for key, value in outputs.items():
            text = f"    {key}: {value if isinstance(value, str) else json.dumps(value)}"
            # Straight to the stream: with --show-secrets the console would hide what was asked for.
            print(text if options.show_secrets else result.redact(text))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m trial",
        description="Runs the Pulumi program on a Docker engine without the Pulumi engine: for development and tests.",
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--stack", default="dev", help="the stack, by the name of its file Pulumi.<stack>.yaml (dev)")
    parser.add_argument("--config-file", metavar="FILE", help="read the stack's configuration from this file instead")
    parser.add_argument("--config", "-c", metavar="KEY=VALUE", type=_pair, action="append", default=[],
                        help="a configuration value that wins over the files; may be repeated")  # fmt: skip
    parser.add_argument("--program", metavar="DIR", default=".", help="the folder with Pulumi.yaml and __main__.py (.)")
    parser.add_argument("--json", action="store_true", help="print one JSON document; progress goes to standard error")
    parser.add_argument("--show-secrets", action="store_true", help="print secret outputs in the clear")
    parser.add_argument("--yes", "-y", action="store_true", help="destroy without asking")
    parser.add_argument("--ignore-protect", action="store_true", help="destroy what is protected, too")
    parser.add_argument("--exclude-protected", action="store_true",
                        help="destroy all but what is protected and what that needs")  # fmt: skip
    parser.add_argument("--debug", action="store_true", help="print the traceback of every failure")
    return parser.parse_args(arguments)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value
