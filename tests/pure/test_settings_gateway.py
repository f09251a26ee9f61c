"""What a stack may not say of gateway, edge and pool, and what it gets when it says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from components.settings.problems import SettingsError
from tests.pure.given import CHAT, EMBEDDING, settings

ON = {"enabled": True}
BCRYPT = "$2a$14$" + "a" * 53
PUBLIC = {"enabled": True, "bind": "0.0.0.0"}
PAIR = [["0"], ["1"]]
DOMAIN = {"certificate": "automatic", "domain": "rag.example.com", "port": 443}


def gateway(**fields: Any) -> dict[str, Any]:
    return {"gateway": ON | fields}


def edge(**fields: Any) -> dict[str, Any]:
    return {"gateway": ON, "edge": ON | fields}


def nvidia(chosen: Any, **pool: Any) -> dict[str, Any]:
    return {"gateway": ON, "accelerator": {"kind": "nvidia", "gpus": chosen}, "pool": pool}


def keyed(**fields: Any) -> dict[str, Any]:
    return gateway(keys=[{"name": "a", **fields}])


# name -> (sections, key, words of the message, words of the mend)
REFUSED: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "clear text": (gateway(bind="0.0.0.0"), "gateway.bind", "clear text", "bind' 127.0.0.1"),
    "clear text over IPv6": (gateway(bind="::"), "gateway.bind", "clear text", "bind' 127.0.0.1"),
    "no key": (gateway(keys=[]), "gateway.keys", "at least one key", "yaml"),
    "empty name": (gateway(keys=[{"name": ""}]), "gateway.keys[0].name", "1 to 63 lower-case", "name' my-app"),
    "reserved name": (gateway(keys=[{"name": "_edge"}]), "gateway.keys[0].name", "starting with a letter", "my-app"),
    "name twice": (gateway(keys=[{"name": "a"}, {"name": "a"}]), "gateway.keys", "a name of its own", "yaml"),
    "one key for two": (
        gateway(keys=[{"name": "a", "sha256": ["0" * 64]}, {"name": "b", "sha256": ["0" * 64]}]),
        "gateway.keys",
        "two clients one key",
        "yaml",
    ),
    "key for a hash": (
        gateway(keys=[{"name": "a", "sha256": ["my-secret-key"]}]),
        "gateway.keys[0].sha256[0]",
        "64 hexadecimal digits",
        "sha256[0]'",
    ),
    "scope": (keyed(scope="root"), "gateway.keys[0].scope", "'inference', 'admin'", "scope'"),
    "generation twice": (keyed(generations=[1, 1]), "gateway.keys[0].generations", "once", ""),
    "rate zero": (gateway(rate={"requests": 0}), "gateway.rate.requests", "1", "requests'"),
    "rate negative": (gateway(keys=[{"name": "a", "requests": -5}]), "gateway.keys[0].requests", "1", "requests'"),
    "rate per nothing": (gateway(rate={"per": "0s"}), "gateway.rate.per", "from 1s to 24h", "per'"),
    "rate per fraction": (gateway(rate={"per": "1500ms"}), "gateway.rate.per", "whole number of seconds", "per'"),
    "body limit": (gateway(body_limit="1k"), "gateway.body_limit", "1m and more", "body_limit' 32m"),
    "certificate inside": (
        gateway(tls={"certificate": "-----BEGIN CERTIFICATE-----", "private_key": "/k"}),
        "gateway.tls.certificate",
        "its path",
        "certificate' ",
    ),
    "two ports": (gateway(port=8405), "gateway.metrics_port", "another port", "metrics_port' 8405"),
    "port of Ollama": (gateway(port=11434), "gateway.port", "by ollama.port", "gateway.port' 18000"),
    "port of PostgreSQL": (gateway(metrics_port=5432), "gateway.metrics_port", "by postgres.port", "metrics_port' "),
    "port of the pool": (
        {**gateway(port=11435), "pool": {"servers": 2}}, "gateway.port", "by pool.servers", "gateway.port' 18000",
    ),
    "edge without gateway": ({"edge": ON}, "edge.enabled", "needs the gateway", "gateway.enabled' true"),
    "pool without gateway": ({"pool": {"servers": 2}}, "pool.servers", "needs the gateway", "gateway.enabled' true"),
    "edge and certificate": (
        {**edge(), "gateway": ON | {"tls": {"certificate": "/c", "private_key": "/k"}}},
        "gateway.tls",
        "brings its own certificate",
        "rm --stack dev --path 'ragstack:gateway.tls'",
    ),
    "password for a hash": (
        edge(users=[{"name": "ada", "password_hash": "open sesame"}]),
        "edge.users[0].password_hash",
        "never the password itself",
        "password_hash'",
    ),
    "user twice": (edge(users=[{"name": "a", "password_hash": BCRYPT}] * 2), "edge.users", "every user once", "yaml"),
    "domain on loopback": (edge(**DOMAIN), "edge.domain", "a public bind", "bind' 0.0.0.0"),
    "domain and internal": (edge(domain="rag.example.com"), "edge.domain", "certificate: automatic", "automatic"),
    "domain on another port": (
        edge(**DOMAIN | {"bind": "0.0.0.0", "port": 8443}), "edge.domain", "port: 443", "port' 443",
    ),
    "automatic without domain": (edge(certificate="automatic"), "edge.certificate", "domain with it", "domain'"),
    "name with a port": (edge(names=["localhost:8443"]), "edge.names[0]", "a host name or an IP address", "names[0]'"),
    "more servers than GPUs": (nvidia(["0"], servers=2), "pool.servers", "there are 1 GPUs", "servers' 1"),
    "more servers than counted": (nvidia(2, servers=3), "pool.servers", "there are 2 GPUs", "servers' 2"),
    "GPU twice": (nvidia("all", servers=2, gpus=[["0"], ["0"]]), "pool.gpus", "uses a GPU twice", "rm --stack dev"),
    "GPUs pinned twice": (nvidia(["0", "1"], servers=2, gpus=PAIR), "pool.gpus", "one of the two", "gpus' all"),
    "groups for others": (nvidia("all", servers=3, gpus=PAIR), "pool.gpus", "a list per server", "servers' 2"),
    "GPUs of a CPU": (
        {"gateway": ON, "pool": {"servers": 1, "gpus": [["0"]]}}, "pool.gpus", "accelerator.kind is cpu", "pool.gpus'",
    ),
    "slots": ({"pool": {"slots": 0}}, "pool.slots", "auto, or a number", "slots'"),
    "queue": ({"pool": {"queue": {"length": 0}}}, "pool.queue.length", "1", "length'"),
    "routing": ({"pool": {"routing": "random"}}, "pool.routing", "'conversation', 'model'", "routing' "),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_value_gives_one_problem_with_key_reason_and_mend(case: str) -> None:
    sections, key, said, mend = REFUSED[case]
    with pytest.raises(SettingsError) as raised:
        settings(**sections)
    problems = {problem.key: problem for problem in raised.value.problems}
    assert list(problems) == [f"ragstack:{key}"], str(raised.value)
    assert said in problems[f"ragstack:{key}"].wrong
    assert "allowed" in problems[f"ragstack:{key}"].wrong
    assert mend in problems[f"ragstack:{key}"].mend
    for secret in ("open sesame", "my-secret-key", "BEGIN CERTIFICATE"):
        assert secret not in str(raised.value)


def test_the_gateway_is_off_in_dev_and_on_loopback_in_prod() -> None:
    assert not settings().gateway.enabled
    assert not settings().edge.enabled
    prod = settings(profile="prod")
    assert (prod.gateway.enabled, prod.gateway.bind, prod.public_ports) == (True, "127.0.0.1", ())
    assert not settings(profile="prod", gateway={"enabled": False}).gateway.enabled


def test_public_ports_are_those_that_are_not_on_loopback() -> None:
    tls = {"certificate": "/c.pem", "private_key": "/k.pem"}
    assert settings(**gateway(bind="0.0.0.0", tls=tls)).public_ports == (11433,)
    assert settings(**edge(bind="0.0.0.0")).public_ports == (8443,)
    assert settings(**edge(bind="0.0.0.0", **DOMAIN)).public_ports == (443, 80)
    assert settings(**edge()).public_ports == ()


def test_proxies_that_are_off_reserve_no_port() -> None:
    assert settings(gateway={"port": 11434}, models=[EMBEDDING, CHAT])
