"""Every form of the rendered proxy configurations, judged by the real binaries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.engine import put, run
from components.proxies import caddyfile, haproxy
from components.settings.edge import Edge
from images.stand_ins import catalogue, registry
from tests.live.fixtures_containers import docker_client
from tests.live.test_pool_live import self_signed
from tests.pure.given import settings
from tests.pure.test_caddyfile import FORMS

ROUTINGS = ("conversation", "model", "least_connections")


def reference(setting: str) -> str:
    return f"{registry.IMAGES_AT}/{next(one for one in catalogue.IMAGES if one.setting == setting).name}"


@pytest.fixture(scope="module")
def haproxy_container(stand_ins: None) -> Any:
    container = docker_client().containers.run(reference("haproxy"), ["sleep", "600"], detach=True)
    yield container
    container.remove(force=True)


@pytest.fixture(scope="module")
def caddy_container(stand_ins: None) -> Any:
    container = docker_client().containers.run(reference("caddy"), ["sleep", "600"], detach=True)
    yield container
    container.remove(force=True)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("servers", [1, 2, 3])
@pytest.mark.parametrize("routing", ROUTINGS)
def test_haproxy_takes_every_form_without_a_word(
    haproxy_container: Any, routing: str, servers: int, tls: bool, tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path)
    extra = {"tls": {"certificate": str(certificate), "private_key": str(key)}} if tls else {}
    given = settings(gateway={"enabled": True, **extra}, pool={"servers": servers, "routing": routing})
    upstreams = tuple(haproxy.Upstream(name=f"ollama-{one}", address=f"o{one}:11434") for one in range(1, servers + 1))
    files = haproxy.render(given, upstreams, slots=4, homes={"all-minilm:22m": "ollama-1"})
    files |= {"keys.map": "", "scopes.map": "", "limits.map": ""}
    if tls:
        files[haproxy.CERTIFICATE] = certificate.read_text() + key.read_text()
    revision = haproxy.revision_of(files)
    named = {f"{revision}/{name}": content for name, content in haproxy.with_revision(files).items()}
    put(haproxy_container, haproxy.FOLDER, named, owner=99, links={})
    code, said = run(haproxy_container, "haproxy", "-c", "-f", f"{haproxy.FOLDER}/{revision}/{haproxy.FILE}")
    assert code == 0, said
    # A warning today is an error of the next version.
    assert "WARNING" not in said, said


def test_haproxy_refuses_what_is_broken(haproxy_container: Any) -> None:
    put(
        haproxy_container,
        haproxy.FOLDER,
        {"bad/haproxy.cfg": "frontend x\n    bind :1\n    nonsense\n"},
        owner=99,
        links={},
    )
    code, said = run(haproxy_container, "haproxy", "-c", "-f", f"{haproxy.FOLDER}/bad/haproxy.cfg")
    assert code != 0
    assert "nonsense" in said


@pytest.mark.parametrize("form", FORMS)
def test_caddy_takes_every_form(caddy_container: Any, form: str) -> None:
    text = caddyfile.render(Edge.model_validate(FORMS[form]), gateway="gateway:11433")
    put(caddy_container, "/etc/caddy", {"Caddyfile": text}, owner=0, links={})
    code, said = run(
        caddy_container,
        "sh",
        "-c",
        "cp /usr/bin/caddy /tmp/caddy && /tmp/caddy validate --adapter caddyfile --config /etc/caddy/Caddyfile",
    )
    assert code == 0, said
    assert "Valid configuration" in said
