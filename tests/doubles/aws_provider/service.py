"""The engine's ResourceProvider protocol over the table of mapped types."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tests.doubles.aws_provider import planning
from tests.doubles.aws_provider.base import Resource
from tests.doubles.aws_provider.calls import Aws, CallError, ConfigurationError
from tests.doubles.aws_provider.functions import FUNCTIONS
from tests.doubles.aws_provider.types import TYPES
from trial.values import UNKNOWN, decode, has_unknown, plain, to_struct

# The version of the pulumi_aws whose inputs are mapped; the engine asks for it.
VERSION = "7.51.1"
_PREFIX = "aws:config:"


def _explained(method: Callable[..., Any]) -> Callable[..., Any]:
    """A refusal of AWS as the call's error, in one piece."""

    @wraps(method)
    def call(self: Any, request: Any, context: Any) -> Any:
        try:
            return method(self, request, context)
        except (CallError, ConfigurationError, TimeoutError) as error:
            context.abort(grpc.StatusCode.UNKNOWN, str(error))

    return call


class AwsDouble(provider_pb2_grpc.ResourceProviderServicer):
    def __init__(self) -> None:
        self._aws: Aws | None = None

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        changed = _plain(request.olds) != _plain(request.news)
        some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=some if changed else none)

    @_explained
    def Configure(self, request: Any, context: Any) -> Any:
        given = {key.removeprefix(_PREFIX): value for key, value in request.variables.items()}
        given |= _plain(request.args) if request.HasField("args") else {}
        # The engine hands nested configuration over as JSON.
        parsed = {key: json.loads(value) if _is_json(value) else value for key, value in given.items()}
        self._aws = Aws(parsed)
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=True, acceptResources=False)

    @_explained
    def Check(self, request: Any, context: Any) -> Any:
        resource, given = _resource(request, context), _plain(request.news)
        wrong = [
            provider_pb2.CheckFailure(property=path, reason=reason)
            for path, reason in planning.failures(resource, given)
        ]
        seed = request.randomSeed or secrets.token_bytes(16)
        inputs = planning.completed(resource, request.urn.split("::")[-1], given, _plain(request.olds), seed)
        return provider_pb2.CheckResponse(inputs=to_struct(inputs), failures=wrong)

    @_explained
    def Diff(self, request: Any, context: Any) -> Any:
        resource, old, new = _resource(request, context), _plain(request.old_inputs), _plain(request.news)
        changed, replaces = planning.difference(resource, self.aws, old, new, _plain(request.olds))
        some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=some if changed else none,
            diffs=changed,
            replaces=replaces,
            deleteBeforeReplace=bool(replaces) and planning.deletes_first(resource, old, new),
        )

    @_explained
    def Create(self, request: Any, context: Any) -> Any:
        resource, inputs = _resource(request, context), _plain(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=to_struct(planning.planned(resource, self.aws, inputs)))
        given = planning.without_notes(inputs)
        with _Doing(resource, "create"):
            id_ = resource.create(self.aws, given, self.aws.tags(given) if resource.tagged else {})
        return provider_pb2.CreateResponse(id=id_, properties=self._state(resource, id_, given))

    @_explained
    def Update(self, request: Any, context: Any) -> Any:
        resource, state, new = _resource(request, context), _plain(request.olds), _plain(request.news)
        given = planning.without_notes(new)
        if request.preview:
            outputs = {**state, **given, **planning.tags_of(resource, self.aws, new)}
            return provider_pb2.UpdateResponse(properties=to_struct(outputs))
        old = _plain(request.old_inputs)
        changed, _ = planning.difference(resource, self.aws, old, new, state)
        with _Doing(resource, "update", request.id):
            self._retag(resource, request.id, state, given)
            if set(changed) - {"tags", "tagsAll"}:
                resource.update(self.aws, request.id, state, given, set(changed))
        return provider_pb2.UpdateResponse(properties=self._state(resource, request.id, given))

    @_explained
    def Read(self, request: Any, context: Any) -> Any:
        resource, state = _resource(request, context), _plain(request.properties)
        with _Doing(resource, "read", request.id):
            found = resource.read(self.aws, request.id, state)
        if found is None:
            return provider_pb2.ReadResponse()
        inputs = planning.drifted(_plain(request.inputs), found)
        return provider_pb2.ReadResponse(
            id=request.id, properties=to_struct({**state, **found}), inputs=to_struct(inputs)
        )

    @_explained
    def Delete(self, request: Any, context: Any) -> Any:
        resource = _resource(request, context)
        with _Doing(resource, "delete", request.id):
            resource.delete(self.aws, request.id, _plain(request.properties))
        return empty_pb2.Empty()

    @_explained
    def Invoke(self, request: Any, context: Any) -> Any:
        if request.tok not in FUNCTIONS:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the double does not know the function {request.tok}")
        noun, function = FUNCTIONS[request.tok]
        given = _plain(request.args)
        with _Doing(noun, "read", given.get("name") or given.get("id") or given.get("quotaCode") or ""):
            answer = function(self.aws, given)
        return provider_pb2.InvokeResponse(**{"return": to_struct(answer)})

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    @property
    def aws(self) -> Aws:
        if self._aws is None:
            raise ConfigurationError("the provider is not configured yet")
        return self._aws

    def _state(self, resource: Resource, id_: str, given: dict[str, Any]) -> struct_pb2.Struct:
        found = resource.read(self.aws, id_, given) or {}
        return to_struct({**given, **found, **planning.tags_of(resource, self.aws, given)})

    def _retag(self, resource: Resource, id_: str, state: dict[str, Any], given: dict[str, Any]) -> None:
        before, after = state.get("tagsAll") or {}, self.aws.tags(given)
        if resource.tagged and before != after:
            resource.retag(self.aws, id_, after, sorted(set(before) - set(after)))


class _Doing:
    """Puts the real provider's words in front of an error: `creating EC2 Instance: operation error ...`."""

    def __init__(self, what: Resource | str, verb: str, id_: str = "") -> None:
        verbs, noun = (what.verbs, what.noun) if isinstance(what, Resource) else (Resource.verbs, what)
        self._before = f"{verbs[verb]} {noun}{f' ({id_})' if id_ else ''}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: Any, error: BaseException | None, _traceback: Any) -> None:
        if isinstance(error, (CallError, TimeoutError)):
            raise ConfigurationError(f"{self._before}: {error}") from error


def _resource(request: Any, context: Any) -> Resource:
    token = request.urn.split("::")[2].split("$")[-1]
    if token not in TYPES:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the double does not know {token}")
    return TYPES[token]


def _plain(struct: Any) -> dict[str, Any]:
    return dict(plain(decode(struct)))


def _is_json(value: Any) -> bool:
    return isinstance(value, str) and value[:1] in ("{", "[") and not has_unknown(value) and value != UNKNOWN
