"""`.ragstack/`: the state, the passphrase and what else the commands keep beside the project, for its owner alone."""

from __future__ import annotations

from pathlib import Path

NAME = ".ragstack"


def private_dir(project: Path, *below: str) -> Path:
    """`.ragstack/` or a folder below it, made with mode 0700; a `.ragstack/` that is open to others is closed."""
    folder = project / NAME
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    for name in below:
        folder /= name
        # mkdir(parents=True) would give the folders on the way the mode of the umask.
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder
