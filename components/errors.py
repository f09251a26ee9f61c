"""The one error a user of ragstack is meant to read.

Not here: errors of the libraries underneath. They are caught where they can be explained and come out as this one.
"""

from __future__ import annotations

from pulumi import RunError


class StackError(RunError):
    """Something a user can mend: what happened and, on the next line, the command or change that mends it.

    `cause` is a sentence that names the key, file, container or model; `mend` is an imperative sentence, with the exact
    command where there is one. A `RunError` because the Pulumi runtime prints that without a traceback.
    """

    def __init__(self, cause: str, mend: str) -> None:
        super().__init__(f"{cause}\n  mend: {mend}")
        self.cause = cause
        self.mend = mend


# Pulumi's dynamic providers print an exception with the module of its class in front; users read the name alone.
StackError.__module__ = "builtins"
