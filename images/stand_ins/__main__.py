"""`python -m images.stand_ins`: see the package's docstring."""

from __future__ import annotations

import argparse
import sys

import yaml
from docker.errors import DockerException

from components.errors import StackError

from . import catalogue, go_tools, pipeline, registry


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; the exit code is 0, 1 for an error that was explained, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    try:
        match options.command:
            case "up":
                pipeline.up()
            case "down":
                pipeline.down(volumes=options.volumes)
            case "overlay":
                settings = catalogue.overlay(registry.IMAGES_AT, registry.MODELS_AT)
                print(yaml.safe_dump(settings, sort_keys=False), end="")
            case "tool":
                tool = catalogue.TOOLS[options.name]
                # Progress goes to the error stream, so the path is all that a caller captures.
                print(go_tools.build_go_tool(tool.package, tool.version))
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except DockerException as error:
        print(f"error: the Docker engine failed: {error}\n  mend: look at its log, then run it again", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"error: {error}\n  mend: check the disk's room and the local registry, then run it again", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print("interrupted; what is finished stays, run it again to go on", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m images.stand_ins", description="Images and models for closed networks."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="build and push what is missing, start the local registry")
    down = commands.add_parser("down", help="remove the local registry's container")
    down.add_argument("--volumes", action="store_true", help="remove its data too (the cache stays)")
    commands.add_parser("overlay", help="print the settings that point a stack at the stand-ins")
    tool = commands.add_parser("tool", help="build a development tool when missing, print its path")
    tool.add_argument("name", choices=sorted(catalogue.TOOLS))
    return parser


if __name__ == "__main__":
    sys.exit(main())
