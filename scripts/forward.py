"""`make forward`: brings a remote stack's Ollama and PostgreSQL to this machine's loopback until Ctrl-C.

Everything goes over the one SSH connection, hence through Session Manager where the machine listens to nobody.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from urllib.parse import urlsplit

from components.errors import StackError
from components.reach import SshTarget, forwarded_url, shown
from scripts.command import arguments, existing
from scripts.outputs import complete
from scripts.say import run, say
from scripts.up import without_password


def main() -> None:
    stack = arguments(str(__doc__)).parse_args().stack
    outputs = complete(existing(stack).runner.outputs(), "ollama_url", "database_url")
    reach = outputs.get("reach")
    if not reach:
        raise StackError(f"The stack {stack} is on this machine already.", f"use {outputs['ollama_url']}")
    with ExitStack() as opened:
        ollama = opened.enter_context(forwarded_url(reach, outputs["ollama_url"]))
        database = opened.enter_context(forwarded_url(reach, outputs["database_url"]))
        say(f"the stack {stack} on this machine, until Ctrl-C:")
        print(f"  ollama     {ollama}")
        if outputs.get("gateway_url"):
            print(f"  gateway    {opened.enter_context(forwarded_url(reach, outputs['gateway_url']))}")
        print(f"  database   {without_password(database)} (the port is {urlsplit(database).port})")
        print(f"  a shell    {shown(SshTarget.of(reach))}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            say("closed")


if __name__ == "__main__":
    run(main)
