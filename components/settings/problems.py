"""How a refused setting reads: the key as the user wrote it, what is wrong, what is allowed, and the command."""

from __future__ import annotations

import difflib
import json
import re
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from components.errors import StackError
from components.settings.base import RuleError

Location = tuple[str | int, ...]
# Pydantic's error types for bounds, and the entry of their context that holds the bound.
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
    "greater_than": ("more than", "gt"),
    "less_than": ("less than", "lt"),
}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One refused setting: where (`section.key[0].name`), what is wrong with what is allowed, and how to mend it."""

    key: str
    wrong: str
    mend: str


class SettingsError(StackError):
    """Every refused setting of a stack file in one message."""

    def __init__(self, stack: str, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems), key=lambda problem: (problem.key, problem.wrong))
        count = len(self.problems)
        lines = [f"Pulumi.{stack}.yaml: {count} setting{'s' if count > 1 else ''} cannot work; nothing was created."]
        lines += [f"- {problem.key} {problem.wrong}\n    mend: {problem.mend}" for problem in self.problems]
        lines.append(f"Each can also be mended by editing Pulumi.{stack}.yaml.")
        # The message is the list: a StackError's single cause and mend would repeat its first line.
        Exception.__init__(self, "\n".join(lines))
        self.cause, self.mend = lines[0], self.problems[0].mend


SettingsError.__module__ = "builtins"


def dotted(project: str, location: Location) -> str:
    """`("models", 0, "name")` as `ragstack:models[0].name`, the path that `pulumi config set --path` takes."""
    path = str(location[0])
    for part in location[1:]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return f"{project}:{path}"


def set_command(stack: str, key: str, value: str) -> str:
    # What names a value, as <name>, is for the user to write.
    shown = f'"{value}"' if re.search(r"[ *?]", value) else value
    return f"pulumi config set --stack {stack} --path '{key}' {shown}"


def problems_of(error: ValidationError, model: type[BaseModel], project: str, stack: str) -> list[Problem]:
    """One problem per line of a pydantic error, in the user's own terms. Values are never repeated."""
    found: dict[str, Problem] = {}
    for line in error.errors(include_url=False, include_context=True, include_input=False):
        location = _as_written(line["loc"], model)
        key = dotted(project, location)
        refusal = line.get("ctx", {}).get("error")
        if line["type"] == "extra_forbidden":
            found[key] = unknown_key(key, str(location[-1]), _keys_beside(location, model), stack)
        elif isinstance(refusal, RuleError):
            found[f"{key}.{refusal.field}"] = _between_fields(key, refusal, stack)
        elif key not in found:
            field = _field_at(location, model)
            found[key] = Problem(key=key, wrong=_wording(line, field), mend=_mend(line["type"], key, field, stack))
    # A union and a list complain about the whole as well as about the part that is wrong.
    return [problem for key, problem in found.items() if not any(_is_below(other, key) for other in found)]


def _is_below(key: str, whole: str) -> bool:
    return key.startswith((f"{whole}.", f"{whole}["))


def _between_fields(section: str, refusal: RuleError, stack: str) -> Problem:
    field, value = refusal.mend
    key = f"{section}.{field}"
    mend = set_command(stack, key, value) if value is not None else f"pulumi config rm --stack {stack} --path '{key}'"
    return Problem(key=f"{section}.{refusal.field}", wrong=str(refusal), mend=mend)


def unknown_key(key: str, name: str, valid: list[str], stack: str) -> Problem:
    """A key nobody reads, with the nearest one that somebody does."""
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}? " if near else ""
    return Problem(
        key=key,
        wrong=f"is not a setting; {hint}allowed: {', '.join(sorted(valid))}",
        mend=f"pulumi config rm --stack {stack} --path '{key}'"
        + (f" && {set_command(stack, key[: -len(name)] + near[0], '<value>')}" if near else ""),
    )


def _wording(line: Any, field: FieldInfo | None) -> str:
    context = line.get("ctx", {})
    kind = line["type"]
    # What follows the comma is about the value given ("unable to parse"), not about what is allowed.
    wording = f"is not valid; allowed: {line['msg'].removeprefix('Input should be ').partition(',')[0]}"
    if kind == "value_error":
        wording = str(context["error"])
    elif kind == "missing":
        wording = "is missing; allowed: it has to be set"
    elif kind in ("model_type", "dict_type"):
        wording = "is not a section; allowed: keys below it"
    elif field is not None and field.description:
        wording = f"is not valid; allowed: {field.description}"
    elif kind == "literal_error":
        wording = f"is none of its values; allowed: {str(context['expected']).replace(' or ', ', ')}"
    elif kind in _BOUNDS:
        word, name = _BOUNDS[kind]
        wording = f"is out of range; allowed: {word} {context[name]}"
    elif kind == "tuple_type":
        wording = "is not a list; allowed: a list"
    return wording


def _mend(kind: str, key: str, field: FieldInfo | None, stack: str) -> str:
    example: Any = "<value>"
    if field is not None and field.examples:
        example = field.examples[0]
    elif field is not None and isinstance(field.default, str | int | float) and kind != "missing":
        example = field.default
    elif field is not None and get_origin(field.annotation) is typing.Literal:
        example = get_args(field.annotation)[0]
    if field is None or _model_in(field.annotation) is not None or get_origin(field.annotation) is dict:
        return f"edit {key} in Pulumi.{stack}.yaml"
    command = set_command(stack, key, example if isinstance(example, str) else json.dumps(example))
    return f"{command} --secret" if SecretStr in get_args(field.annotation) else command


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section inside `Section | None`, `tuple[Section, ...]` or `Annotated[...]`, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (typing.Union, types.UnionType, tuple, typing.Annotated):
        return next(filter(None, map(_model_in, get_args(annotation))), None)
    return None


def _is_choice(annotation: Any) -> bool:
    """Whether pydantic puts the name of a branch behind this field's own: a union of more than one type and None."""
    if get_origin(annotation) not in (typing.Union, types.UnionType):
        return False
    return len([branch for branch in get_args(annotation) if branch is not type(None)]) > 1


def _field_at(location: Location, model: type[BaseModel] | None) -> FieldInfo | None:
    field: FieldInfo | None = None
    for part in location:
        if isinstance(part, int):
            continue
        if model is None or part not in model.model_fields:
            return None if model is not None else field
        field = model.model_fields[part]
        model = _model_in(field.annotation)
    return field


def _as_written(location: Location, model: type[BaseModel]) -> Location:
    """Pydantic names the branch of a union it tried (`gpus.constrained-int`); a stack file has no such key."""
    written: list[str | int] = []
    current: type[BaseModel] | None = model
    is_branch = False
    for part in location:
        if isinstance(part, int):
            written.append(part)
        elif current is None:
            break
        else:
            if not is_branch:
                written.append(part)
            field = current.model_fields.get(part) if not is_branch else None
            current = _model_in(field.annotation) if field else current if is_branch else None
            is_branch = field is not None and _is_choice(field.annotation)
            if field is not None and get_origin(field.annotation) is dict:
                break
    return tuple(written)


def _keys_beside(location: Location, model: type[BaseModel]) -> list[str]:
    current: type[BaseModel] | None = model
    for part in location[:-1]:
        if isinstance(part, str) and current is not None:
            current = _model_in(current.model_fields[part].annotation)
    return list(current.model_fields) if current is not None else []
