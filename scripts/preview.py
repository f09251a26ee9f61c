"""`make preview`: what `make up` would do, and every reason why it could not. Installs, builds and changes nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from scripts.command import arguments, look
from scripts.say import run


def main() -> None:
    stack = arguments(str(__doc__)).parse_args().stack
    with tempfile.TemporaryDirectory(prefix="ragstack-preview-") as scratch:
        look(stack, Path(scratch)).runner.run("preview")


if __name__ == "__main__":
    run(main)
