"""The edge's Caddyfile: what is in it for each kind of certificate, with and without people, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from components.proxies.caddyfile import HEALTH_PORT, HTTP_PORT, HTTPS_PORT, KEY_FILE, render
from components.settings.edge import Edge

GATEWAY = "stack-gateway:11433"
HASH = "$2b$04$7SS4sw4N/61SjlEGCezOoeEqKLJR0UJdV9dp2AYiSN8aUg9JivBEe"
USERS: dict[str, Any] = {"users": [{"name": "ada", "password_hash": HASH}, {"name": "eve", "password_hash": HASH}]}
DOMAIN: dict[str, Any] = {"certificate": "automatic", "domain": "rag.example.com", "bind": "0.0.0.0", "port": 443}
FORMS = {
    "internal": {},
    "internal, users": USERS,
    "automatic": DOMAIN,
    "automatic, users": {**DOMAIN, **USERS, "email": "ops@example.com"},
    "IPv6": {"names": ["2001:db8::1", "rag.internal"]},
}


def lines(**settings: Any) -> list[str]:
    return [line.strip() for line in render(Edge.model_validate(settings), gateway=GATEWAY).splitlines()]


@pytest.fixture(params=FORMS.values(), ids=list(FORMS))
def form(request: pytest.FixtureRequest) -> list[str]:
    return lines(**request.param)


def test_every_form_listens_on_high_ports_without_an_administrative_interface(form: list[str]) -> None:
    assert "admin off" in form
    assert f"https_port {HTTPS_PORT}" in form
    assert f"http_port {HTTP_PORT}" in form
    assert min(HTTPS_PORT, HTTP_PORT, HEALTH_PORT) > 1023


def test_every_form_speaks_tls_1_2_or_newer(form: list[str]) -> None:
    assert "protocols tls1.2 tls1.3" in form


def test_every_form_hands_on_to_the_gateway_and_breaks_off_with_its_client(form: list[str]) -> None:
    assert f"reverse_proxy {GATEWAY} {{" in form
    # With -1, a generation goes on after its client left.
    assert not [line for line in form if line.startswith("flush_interval")]
    assert not [line for line in form if line.startswith("trusted_proxies")]


def test_every_form_answers_the_health_check_on_loopback_alone(form: list[str]) -> None:
    start = form.index(f"http://127.0.0.1:{HEALTH_PORT} {{")
    assert form[start + 1] == "bind 127.0.0.1"


def test_every_form_logs_no_request_header_and_keeps_no_access_log(form: list[str]) -> None:
    assert "request>headers delete" in form
    assert len([line for line in form if line.startswith("log ")]) == 1


def test_every_form_refuses_in_ollamas_words_and_in_openais_below_v1(form: list[str]) -> None:
    assert "handle_errors {" in form
    assert "@openai path /v1/*" in form
    assert [line for line in form if line.startswith('respond @openai `{"error":{"message":')]
    assert [line for line in form if line.startswith('respond `{"error":"')]


def test_braces_are_balanced_in_every_form(form: list[str]) -> None:
    opened = len([line for line in form if line.endswith("{")])
    assert opened == form.count("}") > 0


def test_an_internal_certificate_is_for_every_name_and_installs_nothing() -> None:
    text = lines(names=["rag.internal", "10.0.0.5"])
    assert "https://rag.internal, https://10.0.0.5 {" in text
    assert "issuer internal" in text
    assert "skip_install_trust" in text
    assert "auto_https disable_redirects" in text
    assert not [line for line in text if line.startswith(("email", "header Strict-Transport-Security"))]


def test_a_client_without_a_server_name_gets_the_first_address_or_else_the_first_name() -> None:
    assert "default_sni 10.0.0.5" in lines(names=["rag.internal", "10.0.0.5", "10.0.0.6"])
    assert "default_sni rag.internal" in lines(names=["rag.internal", "rag"])


def test_an_ipv6_name_is_bracketed_where_it_is_an_address_of_a_site() -> None:
    text = lines(names=["2001:db8::1", "rag.internal"])
    assert "https://[2001:db8::1], https://rag.internal {" in text
    assert "default_sni 2001:db8::1" in text


def test_an_automatic_certificate_is_for_the_domain_alone_and_browsers_remember_https() -> None:
    text = lines(**DOMAIN)
    assert "https://rag.example.com {" in text
    assert [line for line in text if line.startswith("header Strict-Transport-Security")]
    for absent in ("issuer internal", "skip_install_trust", "auto_https", "default_sni", "email", "localhost"):
        assert not [line for line in text if absent in line]


def test_the_authority_is_told_an_email_only_where_one_is_given() -> None:
    assert "email ops@example.com" in lines(**DOMAIN, email="ops@example.com")


def test_people_are_known_by_hash_and_go_on_with_the_edges_key_and_no_other() -> None:
    text = lines(**USERS)
    assert f"ada {HASH}" in text
    assert f"eve {HASH}" in text
    assert [line for line in text if line.startswith("basic_auth @person bcrypt")]
    assert "request_header @person -X-Api-Key" in text
    assert f'request_header @person Authorization "Bearer {{file.{KEY_FILE}}}"' in text


def test_without_people_no_password_is_looked_at_and_the_key_file_is_not_read() -> None:
    text = "\n".join(lines())
    for absent in ("basic_auth", "request_header", KEY_FILE, "@person", "@nobody"):
        assert absent not in text
