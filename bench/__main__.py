"""`python -m bench [gateway] [routing] [--json FILE]`: runs the benchmarks and prints what they found."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import gateway, routing
from bench.table import Line, save, show
from images.stand_ins import pipeline

ALL = {"gateway": gateway.measure, "routing": routing.measure}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("only", nargs="*", choices=[*ALL, []], help="which to run; all when none is named")
    parser.add_argument("--json", type=Path, help="where to write the lines of the tables as well")
    arguments = parser.parse_args()
    pipeline.up()
    lines: list[Line] = []
    for name in arguments.only or ALL:
        found = ALL[name]()
        show(name, found)
        lines += found
    if arguments.json:
        save(arguments.json, lines)
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    raise SystemExit(main())
