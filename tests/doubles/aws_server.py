"""An AWS account for tests: moto's server on a free loopback port, with the AMIs and public parameters of the real one.

Everything is strict that moto can be strict about: AMIs, key pairs and AWS's managed policies must exist.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

ACCOUNT = "123456789012"  # moto's default
REGIONS = ("us-east-1", "eu-central-1")
DRIVER_AMI = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
PLAIN_AMI = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
PLAIN_ARM_AMI = "/aws/service/canonical/ubuntu/server/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id"
# The parameter that names an AMI -> (the AMI's name, architecture). By its name a machine knows what it is to be.
AMIS = {
    DRIVER_AMI: ("rehearsal driver x86_64", "x86_64"),
    PLAIN_AMI: ("rehearsal plain x86_64", "x86_64"),
    PLAIN_ARM_AMI: ("rehearsal plain arm64", "arm64"),
}
_STRICT = {
    "MOTO_ENABLE_AMI_VALIDATION": "true",
    "MOTO_ENABLE_KEYPAIR_VALIDATION": "true",
    "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
}


@contextmanager
def aws_server(*, amis: dict[str, tuple[str, str]] | None = None, port: int = 0) -> Iterator[dict[str, str]]:
    """Yields the environment that leads every AWS client here; the account is gone when the block ends.

    `amis`: other images for the public parameters, to play a machine whose driver is missing or old.
    """
    # moto reads some of these when it is imported, others with every call.
    with patch.dict(os.environ, _STRICT):
        from moto.server import ThreadedMotoServer

        yield from _serve(ThreadedMotoServer, amis or AMIS, port)


def _serve(server_type: Any, amis: dict[str, tuple[str, str]], port: int) -> Iterator[dict[str, str]]:
    server = server_type(ip_address="127.0.0.1", port=port, verbose=False)
    # A line for each request is no news.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    try:
        for region in REGIONS:
            seed(region, amis)
        host, bound = server.get_host_and_port()
        yield environment(f"http://{host}:{bound}")
    finally:
        server.stop()
        _forget_everything()


def environment(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "rehearsal",
        "AWS_SECRET_ACCESS_KEY": "rehearsal",
        "AWS_REGION": REGIONS[0],
        "AWS_DEFAULT_REGION": REGIONS[0],
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def seed(region: str, amis: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Registers the images and names them by their parameters; gives parameter -> AMI id. In the server's process."""
    from moto.ec2.models import ec2_backends
    from moto.ssm.models import ssm_backends

    ids: dict[str, str] = {}
    ec2: Any = ec2_backends[ACCOUNT][region]
    for parameter, (name, architecture) in amis.items():
        image = ec2.register_image(name=name, description="registered by a test")
        image.architecture = architecture
        ids[parameter] = image.id
        _name(ssm_backends[ACCOUNT][region], parameter, image.id)
    return ids


def _name(backend: Any, parameter: str, value: str) -> None:
    """moto lets nobody write below /aws/, as AWS does: made under another name, then moved."""
    if backend._parameters[parameter]:
        backend._parameters[parameter][-1].value = value
        return
    backend.put_parameter(
        name="seed", description="", value=value, parameter_type="String", allowed_pattern="", keyid="",
        overwrite=False, tags=[], data_type="text", tier="Standard", policies=None,
    )  # fmt: skip
    made = backend._parameters.pop("seed")
    made[-1].name = parameter
    backend._parameters[parameter] = made


def _forget_everything() -> None:
    from moto.moto_api._internal.models import moto_api_backend

    moto_api_backend.reset()
