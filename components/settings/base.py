"""The base of every section: frozen, no unknown keys, and no value echoed into an error (it may be a secret)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class RuleError(ValueError):
    """A broken rule between the fields of one section.

    `field`: the one that is refused; `mend`: the field to change and its value in a command, None to remove it.
    """

    def __init__(self, wrong: str, *, field: str, mend: tuple[str, str | None]) -> None:
        super().__init__(wrong)
        self.field = field
        self.mend = mend


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)
