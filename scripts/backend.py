"""Where the Pulumi CLI keeps its state and what encrypts its secrets: `.ragstack/`, unless the user has a backend.

The same variables go to `.ragstack/env`, for the `pulumi` commands that messages tell the user to run.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import stat
from pathlib import Path
from typing import Any

from components.errors import StackError
from scripts.private_dir import NAME, private_dir
from scripts.say import say
from scripts.stack_file import read_stack_file

# 24 bytes are 192 bits, more than a passphrase that is never typed could be guessed by.
_PHRASE_BYTES = 24
_BACKEND = "PULUMI_BACKEND_URL"
_PHRASE = "PULUMI_CONFIG_PASSPHRASE"
_PHRASE_FILE = "PULUMI_CONFIG_PASSPHRASE_FILE"


def backend_environment(project: Path, stack_file: Path | None = None, cli: Path | None = None) -> dict[str, str]:
    """The variables that make the CLI keep its state in `.ragstack/`, encrypted by a passphrase file made on first use.

    What the user has set (a backend, a token, a passphrase) is left as it is. `stack_file` is the one to run with,
    `cli` the program that will run it. Raises `StackError` for a passphrase file that cannot be read, and for one that
    is gone while something is still encrypted by it.
    """
    environment = dict(os.environ)
    environment.setdefault("PULUMI_SKIP_UPDATE_CHECK", "true")
    ours: dict[str, str] = {}
    if _BACKEND not in environment and "PULUMI_ACCESS_TOKEN" not in environment:
        if _PHRASE not in environment and _PHRASE_FILE not in environment:
            ours[_PHRASE_FILE] = str(_passphrase_file(project, stack_file))
        ours[_BACKEND] = private_dir(project, "state").as_uri()
    environment |= ours
    _check_passphrase_file(environment)
    if ours:
        _write_for_the_shell(project, ours, cli)
    return environment


def use_scratch_backend(project: Path, stack_file: Path, scratch: Path) -> None:
    """Sets this process's variables so that a stack the backend does not have yet is previewed in `scratch` instead.

    Nothing is set for a stack that is there, nor where the user has a backend.
    """
    stack = stack_file.stem.removeprefix("Pulumi.")
    if _BACKEND in os.environ or "PULUMI_ACCESS_TOKEN" in os.environ or stack_states(project, stack):
        return
    if _PHRASE not in os.environ and _PHRASE_FILE not in os.environ:
        kept = project / NAME / "passphrase"
        if kept.exists():
            os.environ[_PHRASE_FILE] = str(kept)
        elif "encryptionsalt" in _content(stack_file):
            return
        else:
            os.environ[_PHRASE] = ""
    os.environ[_BACKEND] = scratch.as_uri()


def _passphrase_file(project: Path, stack_file: Path | None) -> Path:
    path = project / NAME / "passphrase"
    if path.exists():
        return path
    _refuse_a_lost_passphrase(project, stack_file)
    _write_private(private_dir(project) / path.name, secrets.token_urlsafe(_PHRASE_BYTES) + "\n")
    say(f"made the passphrase that encrypts this stack's secrets: {path} (mode 0600; keep a copy)")
    return path


def _refuse_a_lost_passphrase(project: Path, stack_file: Path | None) -> None:
    """A new passphrase cannot read what another encrypted: the engine would only say that it is incorrect."""
    mend = f"restore {NAME}/passphrase from your copy (or set {_PHRASE})"
    # A file generated from the user's own may carry the salt alone, and the one to run with may be a copy elsewhere.
    name = stack_file.name if stack_file else ""
    files = (project / name, project / NAME / name)
    salted = {file: content for file in files if "encryptionsalt" in (content := _content(file))}
    if salted:
        names = " and ".join(_shown(file, project) for file in salted)
        # With state or encrypted values at stake, a new salt would make them unreadable for good.
        if not any(map(_has_secret, salted.values())) and not stack_states(project):
            mend += f", or start afresh: remove the line encryptionsalt from {names}"
        raise StackError(f"The passphrase that encrypted {names} is not here.", mend)
    if states := stack_states(project):
        raise StackError(f"The passphrase that encrypted {_shown(states[0], project)} is not here.", mend)


def _content(file: Path) -> dict[str, Any]:
    return read_stack_file(file) if file.is_file() else {}


def stack_states(project: Path, stack: str = "*") -> list[Path]:
    """The state files of a stack, or of all, in the local file backend; one may be there and hold no resource."""
    return sorted((project / NAME / "state" / ".pulumi" / "stacks").glob(f"*/{stack}.json"))


def _shown(path: Path, project: Path) -> str:
    return str(path.relative_to(project)) if path.is_relative_to(project) else str(path)


def _has_secret(value: Any) -> bool:
    if isinstance(value, dict):
        return "secure" in value or any(map(_has_secret, value.values()))
    return isinstance(value, list) and any(map(_has_secret, value))


def _check_passphrase_file(environment: dict[str, str]) -> None:
    named = environment.get(_PHRASE_FILE)
    if named is None or _PHRASE in environment:
        return
    path = Path(named)
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StackError(
            f"The passphrase file {path} cannot be read ({error.strerror}).",
            f"chmod 600 {path} as its owner, or name another by {_PHRASE_FILE}",
        ) from None
    if not content.strip():
        raise StackError(f"The passphrase file {path} is empty.", "restore it from your copy")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise StackError(f"The passphrase file {path} can be read by other users.", f"chmod 600 {path}")


def _write_for_the_shell(project: Path, ours: dict[str, str], cli: Path | None) -> None:
    """What a shell lacks to run `pulumi` on this stack by hand: `. .ragstack/env` brings it."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(ours.items())]
    if cli is not None and not shutil.which("pulumi"):
        lines.append(f'export PATH={shlex.quote(str(cli.parent))}:"$PATH"\n')
    path = private_dir(project) / "env"
    text = "".join(lines)
    is_new = not path.exists()
    if is_new or path.read_text(encoding="utf-8") != text:
        path.unlink(missing_ok=True)
        _write_private(path, text)
    if is_new:
        say(f"for the pulumi command by hand: . {_shown(path, project)}")


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
