"""The edge's Caddyfile, a pure function of its settings. `caddy validate` of the tests checks every form.

Caddy has no word for "a key or a password": a request with `Authorization: Basic` is checked against the users and goes
on with the edge's own key; every other one goes on as it came, for the gateway to judge.
"""

from __future__ import annotations

from components.settings.edge import Edge
from components.settings.types import in_url, is_address

HTTPS_PORT = 8443
HTTP_PORT = 8080
# On the container's own loopback, for its health check.
HEALTH_PORT = 2020
KEY_FILE = "/run/secrets/edge-key"
# Where Caddy keeps the internal authority's certificate, for clients to be told to trust.
ROOT_CERTIFICATE = "/data/caddy/pki/authorities/local/root.crt"


_OPENAI = '{"error":{"message":"{err.status_text}","type":"gateway_error","param":null,"code":null}}'
_ERRORS = f"""\
	handle_errors {{
		@openai path /v1/*
		header Content-Type application/json
		respond @openai `{_OPENAI}`
		respond `{{"error":"{{err.status_text}}"}}`
	}}
"""


def render(edge: Edge, *, gateway: str) -> str:
    """`gateway` is `host:port` within the Docker network, where it speaks plain HTTP."""
    return f"""\
{{
	admin off
	https_port {HTTPS_PORT}
	http_port {HTTP_PORT}
{_options(edge)}\
	log {{
		level WARN
		# Caddy hides Authorization by itself, and no other header with a key in it.
		format filter {{
			request>headers delete
			wrap json
		}}
	}}
	servers {{
		# HTTP/3 is on UDP, which is not published: it would be offered to clients who then wait for it in vain.
		protocols h1 h2
		# Who calls is who is connected: nobody in front of the edge is believed.
		client_ip_headers X-Nobody-Sets-This
	}}
}}

# Where the health check of the container looks.
http://127.0.0.1:{HEALTH_PORT} {{
	bind 127.0.0.1
	respond /healthz 200
}}

{_addresses(edge)} {{
{_tls(edge)}\
{_logging_in(edge)}\
	reverse_proxy {gateway} {{
		header_up -X-Forwarded-Host
		transport http {{
			# Less than the gateway's own 75s: a POST on a connection that the gateway is closing fails.
			keepalive 30s
		}}
	}}
{_ERRORS}}}

# Caddy answers an empty 200 to whoever asks for a host that no site is for.
https:// {{
	error 421
{_ERRORS}}}
"""


def _options(edge: Edge) -> str:
    if edge.certificate == "automatic":
        return f"\temail {edge.email}\n" if edge.email else ""
    # Clients that call by address send no name to choose a certificate by (RFC 6066, 3), so they get an address's.
    unnamed = next((name for name in edge.names if is_address(name)), edge.names[0])
    return f"\tskip_install_trust\n\tauto_https disable_redirects\n\tdefault_sni {unnamed}\n"


def _addresses(edge: Edge) -> str:
    names = (edge.domain,) if edge.certificate == "automatic" and edge.domain else edge.names
    return ", ".join(f"https://{in_url(name)}" for name in names)


def _tls(edge: Edge) -> str:
    issuer = "\t\tissuer internal\n" if edge.certificate == "internal" else ""
    lasting = "" if edge.certificate == "internal" else '\theader Strict-Transport-Security "max-age=31536000"\n'
    return f"\ttls {{\n\t\tprotocols tls1.2 tls1.3\n{issuer}\t}}\n{lasting}"


def _logging_in(edge: Edge) -> str:
    if not edge.users:
        return ""
    users = "".join(f"\t\t{user.name} {user.password_hash}\n" for user in edge.users)
    return f"""\
	# The scheme may be in any case (RFC 9110, 11.1).
	@person header_regexp Authorization `(?i)^basic\\s`
	@nobody {{
		not header Authorization *
		not header X-Api-Key *
	}}
	# Browsers ask for a password only when they are told that one is taken.
	basic_auth @nobody bcrypt ragstack {{
{users}\
	}}
	basic_auth @person bcrypt ragstack {{
{users}\
	}}
	request_header @person -X-Api-Key
	request_header @person Authorization "Bearer {{file.{KEY_FILE}}}"
"""
