"""The machine of the rehearsal: an image that boots systemd, cloud-init and sshd. Used by tests alone, never pushed."""

from __future__ import annotations

import os

import docker

from components.errors import StackError

from . import base, cache, engine
from .go_tools import DOCKERFILES
from .progress import run, step

SUITE = "bookworm"
FOLDER = DOCKERFILES / "machine"
# What Ubuntu's cloud image carries and the preparation builds on, so that a boot installs nothing but Docker.
INCLUDE = (
    "ca-certificates,cloud-init,curl,dbus,e2fsprogs,fdisk,gpg,iproute2,iptables,iputils-ping,kmod,less,locales,"
    "needrestart,openssh-server,procps,psmisc,python3,sudo,systemd,systemd-sysv,systemd-timesyncd,unattended-upgrades"
)
OPTIONS = ("--variant=important", "--architectures=amd64", f"--include={INCLUDE}")
KEY = cache.key_of(SUITE, *OPTIONS)
BASE = f"ragstack/machine-base:{SUITE}-{KEY}"
FLAVOURS = ("plain", "driver")
TAG = cache.key_of(KEY, cache.key_of_folder(FOLDER))


def ensure(client: docker.DockerClient, flavour: str) -> str:
    """The reference on the engine of a machine of `FLAVOURS`, made from packages when missing.

    Raises:
        StackError: not run as root, or a package cannot be had.
    """
    reference = f"ragstack/machine-{flavour}:{TAG}"
    if os.geteuid() != 0:
        raise StackError(
            "the rehearsal's machine is built as root (mmdebstrap needs it)", "run it as root or with sudo"
        )
    with cache.exclusive():
        if not engine.has_image(client, reference):
            _base(client)
            with step(f"Building the rehearsal's machine ({flavour})") as note:
                engine.build(client, FOLDER, reference, note, arguments={"BASE": BASE, "FLAVOUR": flavour})
    return reference


def _base(client: docker.DockerClient) -> None:
    if engine.has_image(client, BASE):
        return
    tarball = cache.folder("base") / f"machine-{SUITE}-{KEY}.tar"
    if not tarball.exists():
        with step(f"Making a machine of Debian {SUITE} packages") as note:
            base.require_mmdebstrap(note)
            unfinished = tarball.with_suffix(".unfinished.tar")
            mirror = os.environ.get(base.MIRROR_VARIABLE)
            command = ["mmdebstrap", *OPTIONS, SUITE, str(unfinished), *([mirror] if mirror else [])]
            run(command, note, mend=f"check that a Debian mirror can be reached, or name one in {base.MIRROR_VARIABLE}")
            unfinished.rename(tarball)
    with step("Importing the machine into the engine"):
        repository, tag = BASE.split(":")
        answer = client.api.import_image_from_file(str(tarball), repository=repository, tag=tag)
        if not engine.has_image(client, BASE):
            raise StackError(f"the engine did not import the machine: {answer}", f"remove {tarball} and try again")
