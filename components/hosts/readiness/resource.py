"""The gate as a Pulumi resource. Whatever is declared on the machine takes its engine's address from here.

As with models, the provider is pickled by reference into the state and runs in a plugin process of its own: it holds
nothing, imports inside its methods, and leaves the work to wait.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider
from pulumi.dynamic import UpdateResult as Updated

from components.dynamic import UNPROVEN, plain_errors

if TYPE_CHECKING:
    from components.hosts.readiness.wait import Wanted


@dataclass(frozen=True, kw_only=True)
class ReadinessArgs:
    """A machine to wait for.

    reach        how it is reached (`SshTarget.as_input`)
    machine      its identity: another one is waited for anew
    accelerator  the settings' section as a mapping
    prepared     it prepares itself at its first boot, so that its marker is waited for
    gpus         NVIDIA GPUs it must show, 0 for any number
    timeout_s    seconds for boot and preparation together
    ollama       version of Ollama that is to run there
    docker_url   its engine's address, given out once the engine has answered
    """

    reach: pulumi.Input[Mapping[str, Any]]
    machine: pulumi.Input[str]
    accelerator: Mapping[str, Any]
    prepared: bool
    docker_url: pulumi.Input[str]
    gpus: int = 0
    timeout_s: float = 1800.0
    ollama: str = ""


class ReadinessProvider(ResourceProvider):
    """Waits for one machine. Changes nothing on it."""

    serialize_as_secret_always = False

    @plain_errors
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another machine, way to it or accelerator, or one that a refresh could not ask: the gate is passed again."""
        from components.dynamic import changed

        keys = [key for key in ReadinessArgs.__dataclass_fields__ if key != "timeout_s"]
        unproven = _olds.get("engine") == UNPROVEN
        return DiffResult(changes=bool(changed(_olds, _news, keys)) or unproven, replaces=[])

    @plain_errors
    def create(self, props: dict[str, Any]) -> CreateResult:
        """Wait. The id is the machine's."""
        return CreateResult(str(props["machine"]), _passed(props))

    @plain_errors
    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> Updated:
        """The same as create: a machine that is ready says so at once."""
        return Updated(_passed(_news))

    @plain_errors
    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Ask once. A machine that does not answer may be stopped, which is no reason to call it gone."""
        from components.dynamic import warn
        from components.hosts.readiness.probe import ask
        from components.reach import SshTarget, UnreachableError

        try:
            probe = ask(SshTarget.of(props["reach"]))
        except UnreachableError as error:
            warn(f"the machine {id_} was not looked at (is it stopped?): {error.cause}")
            return ReadResult(id_, {**props, "engine": UNPROVEN})
        return ReadResult(id_, props if probe.docker else {**props, "engine": UNPROVEN})


class Readiness(Resource, module="ragstack", name="Readiness"):
    """A machine that has said it is ready. `engine` and `driver` are versions, `gpus` names; `driver` may be empty."""

    docker_url: pulumi.Output[str]
    reach: pulumi.Output[Mapping[str, Any]]
    engine: pulumi.Output[str]
    driver: pulumi.Output[str]
    gpus_found: pulumi.Output[list[str]]
    system: pulumi.Output[str]

    def __init__(self, resource_name: str, args: ReadinessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        props: dict[str, Any] = {field: getattr(args, field) for field in ReadinessArgs.__dataclass_fields__}
        found = dict.fromkeys(("engine", "driver", "gpus_found", "system"))
        super().__init__(ReadinessProvider(), resource_name, props | found, opts)


def _passed(props: Mapping[str, Any]) -> dict[str, Any]:
    from components.dynamic import report
    from components.hosts.readiness.wait import wait_until_ready
    from components.reach import SshTarget

    ready = wait_until_ready(SshTarget.of(props["reach"]), _wanted(props), report)
    given = {field: props.get(field) for field in ReadinessArgs.__dataclass_fields__}
    found = {"engine": ready.engine, "driver": ready.driver, "gpus_found": list(ready.gpus), "system": ready.system}
    return given | found


def _wanted(props: Mapping[str, Any]) -> Wanted:
    from components.hosts.readiness.wait import Wanted
    from components.settings.accelerator import Accelerator

    return Wanted(
        accelerator=Accelerator.model_validate(props["accelerator"]),
        prepared=bool(props["prepared"]),
        gpus=int(props.get("gpus") or 0),
        timeout_s=float(props.get("timeout_s") or 1800.0),
        ollama=str(props.get("ollama") or ""),
    )
