"""`make preview`: what `make up` would do, and every reason why it could not."""

from __future__ import annotations

from scripts.command import arguments, prepare
from scripts.say import run


def main() -> None:
    prepare(arguments(str(__doc__)).parse_args().stack).runner.run("preview")


if __name__ == "__main__":
    run(main)
