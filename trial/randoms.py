"""The random provider's passwords, strings, bytes and ids: made once by `secrets`, kept in the private state file."""

# ruff: noqa: ARG002 - every kind answers the whole protocol of trial/kinds.py

from __future__ import annotations

import base64
import secrets
import string
from typing import Any

from components.errors import StackError
from trial.kinds import Change, Step
from trial.state import Entry
from trial.values import UNAVAILABLE, changed_keys, plain

# The provider's own set of special characters, used unless `overrideSpecial` is given.
_SPECIAL = "!@#$%&*()-_=+[]{}<>:?"
_PASSWORD_FIELDS = {
    "length", "keepers", "lower", "upper", "number", "numeric", "special", "overrideSpecial",
    "minLower", "minUpper", "minNumeric", "minSpecial",
}  # fmt: skip

PASSWORD = "random:index/randomPassword:RandomPassword"  # noqa: S105 - a type token
STRING = "random:index/randomString:RandomString"
ID = "random:index/randomId:RandomId"
BYTES = "random:index/randomBytes:RandomBytes"
_FIELDS = {
    PASSWORD: _PASSWORD_FIELDS,
    STRING: _PASSWORD_FIELDS,
    ID: {"byteLength", "prefix", "keepers"},
    BYTES: {"length", "keepers"},
}
TYPES = tuple(_FIELDS)


class Random:
    """Any change of inputs makes a new value, as with the provider's `keepers`."""

    def check(self, step: Step, old: Entry | None) -> dict[str, Any]:
        unknown = sorted(set(step.inputs) - _FIELDS[step.type])
        if unknown:
            raise StackError(
                f"{step.name} ({step.type}) sets {', '.join(unknown)}, which the trial runner does not implement.",
                f"use only {', '.join(sorted(_FIELDS[step.type]))}, or run with the engine: `pulumi up`",
            )
        return step.inputs

    def diff(self, step: Step, old: Entry) -> tuple[Change, str]:
        changed = changed_keys(plain(old.inputs), step.inputs)
        return (Change.REPLACE, ", ".join(changed)) if changed else (Change.SAME, "")

    def create(self, step: Step, old: Entry | None) -> tuple[str, dict[str, Any]]:
        if step.type in (PASSWORD, STRING):
            result = password(step.name, step.inputs)
            # bcrypt needs a library of its own; any use of this becomes a clear error.
            hashes = {"bcryptHash": UNAVAILABLE} if step.type == PASSWORD else {}
            return ("none" if step.type == PASSWORD else result), {**step.inputs, "result": result, **hashes}
        if step.type == BYTES:
            raw = secrets.token_bytes(int(step.inputs["length"]))
            text = base64.b64encode(raw).decode()
            return text, {**step.inputs, "base64": text, "hex": raw.hex()}
        raw = secrets.token_bytes(int(step.inputs["byteLength"]))
        prefix = step.inputs.get("prefix") or ""
        url = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        outputs = {
            **step.inputs,
            "b64Url": prefix + url,
            "b64Std": prefix + base64.b64encode(raw).decode(),
            "hex": prefix + raw.hex(),
            "dec": prefix + str(int.from_bytes(raw, "big")),
        }
        return url, outputs

    def update(self, step: Step, old: Entry) -> dict[str, Any]:
        return dict(plain(old.outputs))

    def delete(self, step: Step, old: Entry) -> None:
        return

    def read(self, step: Step, old: Entry) -> tuple[dict[str, Any], dict[str, Any]] | None:
        return plain(old.inputs), plain(old.outputs)

    def delete_first(self, step: Step, old: Entry) -> bool:
        return False


def password(name: str, inputs: dict[str, Any]) -> str:
    """A text of `length` characters from the wanted classes, with at least the wanted number of each.

    Raises StackError when no class is left or the least numbers add up to more than the length.
    """
    numeric = inputs.get("numeric", inputs.get("number"))
    override = inputs.get("overrideSpecial")
    classes = [
        (string.ascii_lowercase, inputs.get("lower", True), inputs.get("minLower", 0)),
        (string.ascii_uppercase, inputs.get("upper", True), inputs.get("minUpper", 0)),
        (string.digits, True if numeric is None else numeric, inputs.get("minNumeric", 0)),
        (_SPECIAL if override is None else override, inputs.get("special", True), inputs.get("minSpecial", 0)),
    ]
    length = int(inputs["length"])
    least = [secrets.choice(letters) for letters, _, count in classes for _ in range(int(count or 0)) if letters]
    alphabet = "".join(letters for letters, wanted, _ in classes if wanted is not False)
    if not alphabet or len(least) > length or length < 1:
        raise StackError(
            f"{name} asks for a password of {length} characters that no choice of characters can give.",
            "raise `length`, or allow at least one class of characters",
        )
    letters = least + [secrets.choice(alphabet) for _ in range(length - len(least))]
    secrets.SystemRandom().shuffle(letters)
    return "".join(letters)
