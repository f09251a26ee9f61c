"""API keys: how one looks, and the maps by which the gateway knows them. A map holds hashes, never a key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from components.settings.gateway import Gateway

# Makes a key that was pasted somewhere recognisable to people and to scanners for leaked secrets.
PREFIX = "rsk_"
# Letters and digits: 40 of 62 are 238 bits.
RANDOM_LENGTH = 40
# The edge's own key, by which people who logged in there use the models. No settings can take the name: no underscore
# may come first.
EDGE_KEY = "_edge"


def resource_name(key: str, generation: int) -> str:
    """What the secret of one generation of a key is called among a component's children."""
    return f"{key}-{generation}"


def hash_of(key: str) -> str:
    """SHA-256 in lower-case hex. Keys are random and long, so that a slow hash would protect nothing."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_map(gateway: Gateway, generated: Mapping[str, str]) -> str:
    """`<sha256> <name>` per valid key. `generated`: `resource_name` to key, for every generated one, and `EDGE_KEY`."""
    lines = [f"{hash_of(generated[EDGE_KEY])} {EDGE_KEY}"] if EDGE_KEY in generated else []
    for key in gateway.keys:
        lines += [f"{digest} {key.name}" for digest in key.sha256]
        if not key.sha256:
            lines += [f"{hash_of(generated[resource_name(key.name, it)])} {key.name}" for it in key.generations]
    return _text(sorted(lines))


def scope_map(gateway: Gateway) -> str:
    """`<name> admin` per key that may administer."""
    return _text([f"{key.name} admin" for key in gateway.keys if key.scope == "admin"])


def limit_map(gateway: Gateway) -> str:
    """`<name> <requests>` per key with a limit of its own."""
    return _text([f"{key.name} {key.requests}" for key in gateway.keys if key.requests is not None])


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
