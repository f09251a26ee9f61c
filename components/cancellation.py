"""How the program ends when the engine cancels it."""

from __future__ import annotations

import os
import signal
import sys

# The language host prints nothing more for a program that ends with this code (pulumi-language-python's main.go).
MESSAGE_WAS_SHOWN = 32
LANGUAGE_HOST = "pulumi-language-python-exec"


def end_quietly_when_cancelled() -> None:
    """Keeps a KeyboardInterrupt's traceback from burying the reason of a failed update.

    The engine interrupts the program as soon as a resource has failed, or the user has pressed Ctrl-C; the resource's
    own error, or the user's key, is all there is to say. Does nothing under any other runtime than the engine's.
    """
    if any(argument.endswith(LANGUAGE_HOST) for argument in sys.orig_argv):
        signal.signal(signal.SIGINT, lambda *_: os._exit(MESSAGE_WAS_SHOWN))
