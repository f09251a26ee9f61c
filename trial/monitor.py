"""The resource monitor that the Pulumi runtime talks to instead of the engine's. In this process, without gRPC."""

# ruff: noqa: N802 - the names are those of the runtime's services

from __future__ import annotations

import threading
from typing import Any

from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, resource_pb2

from components.errors import StackError
from trial import values
from trial.config import Project
from trial.console import Console
from trial.deployment import Deployment
from trial.kinds import Goal
from trial.ledger import PACKAGES
from trial.plugins import package_of

_STACK_TYPE = "pulumi:pulumi:Stack"
_FEATURES = (
    resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
    resource_pb2.RESOURCE_MONITOR_FEATURE_REPLACE_WITH,
)


class Monitor:
    """Answers registrations; each comes on a thread of its own, as soon as its inputs are known.

    Method names are those of the runtime's resource monitor service. Aliases are accepted and not followed.
    """

    def __init__(self, project: Project, deployment: Deployment) -> None:
        self.outputs: dict[str, Any] = {}
        self.refused: list[str] = []
        self._project = project
        self._deployment = deployment
        self._lock = threading.Lock()

    def RegisterResource(self, request: Any) -> resource_pb2.RegisterResourceResponse:
        urn = self._urn(request.parent, request.type, request.name)
        if not request.custom and not request.remote:
            self._deployment.declared.add(urn)
            return resource_pb2.RegisterResourceResponse(urn=urn)
        refusal = self._refusal(request)
        if refusal:
            self._refuse(refusal)
            return resource_pb2.RegisterResourceResponse(urn=urn, object=request.object)
        id_, outputs = self._deployment.register(self._goal(urn, request))
        return resource_pb2.RegisterResourceResponse(urn=urn, id=id_, object=values.to_struct(outputs))

    def RegisterResourceOutputs(self, request: Any) -> empty_pb2.Empty:
        if request.urn.split("::")[2] == _STACK_TYPE:
            self.outputs = values.decode(request.outputs)
        return empty_pb2.Empty()

    def ReadResource(self, request: Any) -> resource_pb2.ReadResourceResponse:
        self._refuse(f"{request.type} {request.name!r} (read, not declared)")
        return resource_pb2.ReadResourceResponse(urn=self._urn(request.parent, request.type, request.name))

    def Invoke(self, request: Any) -> resource_pb2.ResourceInvokeResponse:
        if not self._deployment.plugins.serves(package_of(request.tok)):
            return self.Call(request)
        provider = request.provider.rsplit("::", 1)[0]
        answer = self._deployment.invoke(request.tok, values.decode(request.args), provider)
        return resource_pb2.ResourceInvokeResponse(**{"return": answer})

    def Call(self, request: Any) -> resource_pb2.ResourceInvokeResponse:
        self._refuse(f"the function {request.tok}")
        return resource_pb2.ResourceInvokeResponse()

    def GetDeploymentInfo(self, _request: Any) -> resource_pb2.DeploymentInfo:
        return resource_pb2.DeploymentInfo(supportedFeatures=_FEATURES)

    def RegisterPackage(self, request: Any) -> resource_pb2.RegisterPackageResponse:
        raise StackError(
            f"The program uses the parameterized package {request.name}, which the trial runner does not implement.",
            "run this stack with the Pulumi engine: `pulumi up`",
        )

    def SignalAndWaitForShutdown(self, _request: Any) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def _refusal(self, request: Any) -> str:
        provider = request.type.startswith("pulumi:providers:")
        package = package_of(request.type)
        known = package in PACKAGES or self._deployment.plugins.serves(package)
        if request.HasField("replacement_trigger"):
            return f"{request.type} {request.name!r} with a replacement_trigger"
        if request.remote or request.importId or not known:
            return f"{request.type} {request.name!r}{' (imported)' if request.importId else ''}"
        if not provider and self._deployment.kind(request.type) is None:
            return f"{request.type} {request.name!r}"
        return ""

    def _refuse(self, what: str) -> None:
        with self._lock:
            self.refused.append(what)
        if not self._deployment.dry_run:
            raise refusal_error([what])

    def _urn(self, parent: str, type_: str, name: str) -> str:
        above = parent.split("::")[2] if parent else _STACK_TYPE
        qualified = type_ if above == _STACK_TYPE else f"{above}${type_}"
        return f"urn:pulumi:{self._project.stack}::{self._project.name}::{qualified}::{name}"

    @staticmethod
    def _goal(urn: str, request: Any) -> Goal:
        return Goal(
            urn=urn,
            type=request.type,
            name=request.name,
            inputs=values.decode(request.object),
            provider=request.provider.rsplit("::", 1)[0],
            dependencies=list(request.dependencies),
            property_dependencies={key: list(item.urns) for key, item in request.propertyDependencies.items()},
            protect=bool(request.protect),
            retain=bool(request.retainOnDelete),
            deleted_with=request.deletedWith,
            delete_first=bool(request.deleteBeforeReplace),
            ignore_changes=list(request.ignoreChanges),
            replace_on_changes=list(request.replaceOnChanges),
            replace_with=list(request.replace_with),
            secret_outputs=list(request.additionalSecretOutputs),
        )


def refusal_error(refused: list[str]) -> StackError:
    """The message for a program that declares what only the engine can bring about."""
    return StackError(
        "The trial runner implements docker, random and dynamic resources, and packages with a plugin on PATH "
        f"(pulumi-resource-<package>). This program declares {', '.join(sorted(set(refused)))}. Nothing was created.",
        "run this stack with the Pulumi engine: `pulumi up`",
    )


class Engine:
    """The runtime's logging service. A logged error fails the run, as it does under the engine."""

    def __init__(self, console: Console) -> None:
        self.logged_errors = 0
        self._console = console

    def Log(self, request: Any) -> empty_pb2.Empty:
        if request.severity == engine_pb2.DEBUG:
            return empty_pb2.Empty()
        if request.severity == engine_pb2.ERROR:
            self.logged_errors += 1
        prefix = {engine_pb2.WARNING: "warning: ", engine_pb2.ERROR: "error: "}.get(request.severity, "")
        self._console.note(prefix + request.message)
        return empty_pb2.Empty()
