"""The gateway's configuration as text: what every form says, and what must never stand in it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.proxies import haproxy, keys
from components.settings.gateway import Gateway
from tests.pure.given import settings

TWO = tuple(haproxy.Upstream(name=f"ollama-{one}", address=f"stack-ollama-{one}:11434") for one in (1, 2))


def files(servers: int = 2, **sections: Any) -> dict[str, str]:
    given = settings(**{"gateway": {"enabled": True}, **sections})
    return haproxy.render(given, TWO[:servers], slots=8, homes={"all-minilm:22m": "ollama-1"})


def text(servers: int = 2, **sections: Any) -> str:
    return files(servers, **sections)[haproxy.FILE]


def test_inference_is_a_list_of_exact_paths_and_all_else_is_administration() -> None:
    config = text()
    listed = re.findall(r"^    acl (?:inference|conversation|description|list) path -m str (.*)$", config, re.M)
    paths = {path for line in listed for path in line.split()}
    assert {"/api/chat", "/v1/embeddings", "/api/ps", "/"} <= paths
    assert not [path for path in paths if re.search(r"pull|push|create|delete|copy|blobs", path)]
    assert "set-var(txn.use) str(admin) if !{ var(txn.use) -m found }" in config


def test_refusals_come_before_a_body_is_read_and_in_their_order() -> None:
    config = text()
    order = [config.index(f"return status {status} ") for status in (431, 401, 403, 429, 413)]
    assert order == sorted(order)
    assert order[-1] < config.index("wait-for-body") < config.index("use_backend")


def test_a_key_never_goes_on_to_ollama_or_into_the_log() -> None:
    config = text()
    log = next(line for line in config.splitlines() if "log-format" in line)
    assert "var(txn.key)" in log
    assert "txn.token" not in log
    assert not re.search(r"req\.body|query|hdr", log)
    assert config.index("unset-var(txn.token)") < config.index("del-header authorization") < config.index("use_backend")
    assert "set-uri %[path]" in config


def test_only_a_gateway_with_a_certificate_speaks_tls_and_none_below_1_2() -> None:
    assert " ssl crt " not in text()
    tls = text(gateway={"enabled": True, "bind": "0.0.0.0", "tls": {"certificate": "/c", "private_key": "/k"}})
    assert f"bind :{haproxy.PORT} ssl crt certificate.pem alpn h2,http/1.1" in tls
    assert "ssl-min-ver TLSv1.2" in tls


@pytest.mark.parametrize(
    ("routing", "there", "absent"),
    [
        ("conversation", "balance hash var(txn.route)", "use-server"),
        ("model", "use-server ollama-2 if", "messages[0]"),
        ("least_connections", "balance leastconn", "txn.route"),
    ],
)
def test_each_routing_has_its_own_rules_and_none_of_the_others(routing: str, there: str, absent: str) -> None:
    config = text(pool={"servers": 2, "routing": routing})
    assert there in config
    assert absent not in config
    assert ("homes.map" in files(pool={"servers": 2, "routing": routing})) == (routing == "model")


def test_a_single_server_needs_no_merged_answer() -> None:
    assert "lua-load" not in text(servers=1)
    assert "pool_ps.lua" not in files(servers=1)
    assert "use-service lua.pool_ps" in text(servers=2)


def test_limits_of_the_stack_file_are_the_configurations() -> None:
    config = text(
        gateway={"enabled": True, "body_limit": "5m", "timeout": "90s", "rate": {"requests": 7, "per": "30s"}},
        pool={"servers": 2, "queue": {"length": 9, "wait": "3s"}},
    )
    assert "-m int gt 5242880" in config
    assert "timeout server 90s" in config
    assert "gpc0_rate(30s)" in config
    assert "map_str_int(limits.map,7)" in config
    assert "queue(inference) ge 9" in config
    assert "timeout queue 3s" in config


def test_a_revision_is_of_all_files_and_in_each_place() -> None:
    one = haproxy.with_revision({**files(), "keys.map": "a"})[haproxy.FILE]
    other = haproxy.with_revision({**files(), "keys.map": "b"})[haproxy.FILE]
    assert one != other
    assert "@REVISION@" not in one
    assert one == haproxy.with_revision({**files(), "keys.map": "a"})[haproxy.FILE]


def test_the_map_of_keys_holds_hashes_of_every_generation_and_no_key() -> None:
    gateway = Gateway.model_validate(
        {
            "keys": [
                {"name": "app", "generations": [1, 2]},
                {"name": "own", "sha256": ["f" * 64]},
                {"name": "ops", "scope": "admin", "requests": 5},
            ]
        }
    )
    generated = {"app-1": "rsk_one", "app-2": "rsk_two", "ops-1": "rsk_three", keys.EDGE_KEY: "rsk_edge"}
    mapped = dict(line.split() for line in keys.key_map(gateway, generated).splitlines())
    assert sorted(mapped.values()) == ["_edge", "app", "app", "ops", "own"]
    assert mapped[keys.hash_of("rsk_two")] == "app"
    assert "rsk_" not in keys.key_map(gateway, generated)
    assert keys.scope_map(gateway) == "ops admin\n"
    assert keys.limit_map(gateway) == "ops 5\n"
