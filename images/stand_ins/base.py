"""The small Debian base that every stand-in image is built on, made by mmdebstrap from packages alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import docker

from components.errors import StackError

from . import cache, engine
from .progress import Note, run, step

SUITE = "trixie"
INCLUDE = ("ca-certificates", "passwd")
"""Added to dpkg, apt and the essential packages: what nearly every service image needs."""
OPTIONS = (
    "--variant=apt",
    "--architectures=amd64",
    f"--include={','.join(INCLUDE)}",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    '--aptopt=APT::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
)
MIRROR_VARIABLE = "RAGSTACK_DEBIAN_MIRROR"
"""Environment variable with the URL of a Debian mirror; without it mmdebstrap's own default is used."""

KEY = cache.key_of(SUITE, *OPTIONS)
REFERENCE = f"ragstack/stand-in-base:{SUITE}-{KEY}"


def ensure(client: docker.DockerClient) -> str:
    """The base image's reference on the engine, imported from the cache or made from packages when missing.

    Raises:
        StackError: mmdebstrap cannot be installed or fails.
    """
    if engine.has_image(client, REFERENCE):
        return REFERENCE
    tarball = cache.folder("base") / f"{SUITE}-{KEY}.tar"
    if not tarball.exists():
        with step(f"Making a base of Debian {SUITE} packages") as note:
            _bootstrap(tarball, note)
    with step("Importing the base into the engine"):
        # `import_image` names what went wrong in its return value only, hence the second look.
        repository, tag = REFERENCE.split(":")
        answer = client.api.import_image_from_file(str(tarball), repository=repository, tag=tag)
        if not engine.has_image(client, REFERENCE):
            raise StackError(f"the engine did not import the base: {answer}", f"remove {tarball} and run `up` again")
    return REFERENCE


def _bootstrap(tarball: Path, note: Note) -> None:
    require_mmdebstrap(note)
    unfinished = tarball.with_suffix(".unfinished.tar")
    mirror = os.environ.get(MIRROR_VARIABLE)
    command = ["mmdebstrap", *OPTIONS, SUITE, str(unfinished), *([mirror] if mirror else [])]
    run(command, note, mend=f"check that a Debian mirror can be reached, or name one in {MIRROR_VARIABLE}")
    unfinished.rename(tarball)


def require_mmdebstrap(note: Note) -> None:
    """Installs mmdebstrap and Debian's keys unless they are here. Raises `StackError` when that fails."""
    if not shutil.which("mmdebstrap") or not Path("/usr/share/keyrings/debian-archive-trixie-stable.gpg").exists():
        note("installing mmdebstrap on this machine with apt-get")
        _install_mmdebstrap(note)


def _install_mmdebstrap(note: Note) -> None:
    mend = "install the packages `mmdebstrap` and `debian-archive-keyring` by hand (Debian or Ubuntu)"
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update"], note, mend=mend, env=quiet)
    run(
        ["apt-get", "install", "-y", "--no-install-recommends", "mmdebstrap", "debian-archive-keyring"],
        note,
        mend=mend,
        env=quiet,
    )
