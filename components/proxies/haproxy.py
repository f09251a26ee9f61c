"""The gateway's HAProxy configuration, a pure function of what is wanted. `haproxy -c` of the tests checks every form.

Order within the frontend matters: what is not understood is refused first, then who it is, what they may, how often,
how large; only then is a body read. Directives are those of HAProxy 3.0 (docs.haproxy.org/3.0/configuration.html).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.proxies import access
from components.settings import Settings
from components.settings.gateway import Gateway
from components.settings.pool import Pool
from components.settings.types import duration_seconds

PORT = 11433
METRICS_PORT = 8405
# On the container's own loopback: reached by who may run a command in it, by nobody else.
RUNTIME_PORT = 9999
BACKEND = "inference"
FILE = "haproxy.cfg"
# Where a configuration lies in the container, each revision in a folder of its own.
FOLDER = "/usr/local/etc/haproxy"
# Nothing that talks to Ollama needs more, and the smallest buffer holds it: nginx's default is 4 x 8k, Go's 1 MiB.
MAX_HEADERS_BYTES = 12_288
MAX_URL_BYTES = 4096
# More than system prompts have in common, and less than the smallest buffer.
OPENING_BYTES = 4096
# A certificate and its key in one file, HAProxy's `crt`.
CERTIFICATE = "certificate.pem"
# Mozilla's "intermediate" (ssl-config.mozilla.org, guideline 5.7): TLS 1.2 with forward secrecy, and TLS 1.3.
_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
_SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """One Ollama server: its name within the gateway, and `host:port` as containers reach it.

    `fixed`: the host is in the container's own hosts file, which Docker's name server knows nothing of.
    """

    name: str
    address: str
    fixed: bool = False

    @property
    def line(self) -> str:
        """The part of a `server` line that says where it is, wherever it moves."""
        resolved = "init-addr libc" if self.fixed else "resolvers docker init-addr none resolve-prefer ipv4"
        return f"    server {self.name} {self.address} {resolved}"


def render(
    settings: Settings, upstreams: tuple[Upstream, ...], *, slots: int, homes: Mapping[str, str]
) -> dict[str, str]:
    """File name to text, certificate and key map aside: the configuration and the plain files it reads.

    `slots`: requests a server is given at once; `homes`: model key to the name of its server, for the routing `model`.
    """
    gateway, pool = settings.gateway, settings.pool
    sections = (
        _global(gateway, several=len(upstreams) > 1),
        _defaults(gateway, pool),
        _METRICS,
        _frontend(gateway, pool, several=len(upstreams) > 1),
        _inference(pool, upstreams, slots),
        _first(upstreams),
    )
    files = {FILE: "\n".join(sections)}
    if len(upstreams) > 1:
        files["pool_ps.lua"] = (Path(__file__).parent / "pool_ps.lua").read_text(encoding="utf-8")
    if pool.routing == "model":
        files["homes.map"] = "".join(f"{model} {server}\n" for model, server in sorted(homes.items()))
    return files


def with_revision(files: Mapping[str, str]) -> dict[str, str]:
    """The files with a digest over all of them in the configuration's `description`, by which a running proxy tells
    which configuration it has."""
    return {**files, FILE: files[FILE].replace("@REVISION@", revision_of(files))}


def revision_of(files: Mapping[str, str]) -> str:
    """12 hex digits over names and texts, of files that do not carry their revision yet."""
    digest = hashlib.sha256()
    for name, text in sorted(files.items()):
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()[:12]


def _global(gateway: Gateway, *, several: bool) -> str:
    lua = f"    lua-load-per-thread {FOLDER}/@REVISION@/pool_ps.lua\n" if several else ""
    return f"""\
global
    description @REVISION@
    maxconn {gateway.connections}
    default-path config
    stats socket ipv4@127.0.0.1:{RUNTIME_PORT} level admin expose-fd listeners
    tune.bufsize {gateway.inspect_kib * 1024}
    # After a reload the former process ends with its last answer, and at the latest then.
    hard-stop-after {_seconds(gateway.timeout) + 60}s
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers {_CIPHERS}
    ssl-default-bind-ciphersuites {_SUITES}
{lua}
# Docker's own name server of every user-defined network.
resolvers docker
    nameserver embedded 127.0.0.11:53
    accepted_payload_size 8192
    resolve_retries 3
    timeout resolve 1s
    timeout retry 1s
    hold valid 1s
    hold nx 2s
    hold obsolete 1s
"""


def _defaults(gateway: Gateway, pool: Pool) -> str:
    return f"""\
defaults
    mode http
    # Here and not in `global`, where the questions of pool_ps.lua would be logged too, in a form of their own.
    log stdout len 8192 format raw local0 info
    option dontlognull
    option http-no-delay
    # A client that leaves takes its request with it: out of the queue, or off the server, which then stops generating.
    option abortonclose
    timeout connect 5s
    timeout client {_seconds(gateway.timeout)}s
    timeout server {_seconds(gateway.timeout)}s
    timeout queue {_seconds(pool.queue.wait)}s
    timeout http-request 15s
    timeout http-keep-alive 75s
    timeout check 5s
    http-error status 400 content-type application/json string '{{"error":"not a valid HTTP request"}}'
    http-error status 408 content-type application/json string '{{"error":"the request took too long to arrive"}}'
    http-error status 500 content-type application/json lf-string '{_body("the gateway failed")}'
    http-error status 502 content-type application/json lf-string '{_body("the model server broke off")}'
    http-error status 503 content-type application/json lf-string '{_body("no model server is free")}' hdr Retry-After 1
    http-error status 504 content-type application/json lf-string '{_body("the model server took too long")}'
"""


_METRICS = f"""\
frontend metrics
    bind :{METRICS_PORT}
    no log
    monitor-uri /healthz
    http-request use-service prometheus-exporter if {{ path /metrics }}
    http-request return status 404
"""


def _frontend(gateway: Gateway, pool: Pool, *, several: bool) -> str:
    tls = f" ssl crt {CERTIFICATE} alpn h2,http/1.1" if gateway.tls else ""
    period = _seconds(gateway.rate.per)
    limits = "var(txn.key),map_str_int(limits.map," + f"{gateway.rate.requests})"
    merged = "    http-request use-service lua.pool_ps if read { path /api/ps }\n" if several else ""
    return f"""\
frontend gateway
    bind :{PORT}{tls}
    log-format "{_LOG}"
    stick-table type string len 64 size 10k expire {period * 2}s store gpc0,gpc0_rate({period}s)

    # Refusals speak the form of whoever is asked: Ollama's own, and OpenAI's below /v1.
    http-request set-var-fmt(txn.before) '{_quoted('{"error":"')}'
    http-request set-var-fmt(txn.after) '{_quoted('"}')}'
    http-request set-var-fmt(txn.before) '{_quoted('{"error":{"message":"')}' if {{ path_beg /v1/ }}
    http-request set-var-fmt(txn.after) '{_quoted('","type":"gateway_error","param":null,"code":null}}')}' \
if {{ path_beg /v1/ }}
    http-request set-var(txn.path) path
    # A query is nothing to Ollama, and whoever puts a key there by mistake shall not find it in a log.
    http-request set-uri %[path] if {{ query -m found }}

    {_refuse(431, "the headers are too large")} if {{ req.hdrs_bin,length gt {MAX_HEADERS_BYTES} }}
    {_refuse(414, "the path is too long")} if {{ path_len gt {MAX_URL_BYTES} }}
    {_refuse(400, "more than one key was sent")} if {{ req.fhdr_cnt(authorization) gt 1 }}
    {_refuse(400, "more than one key was sent")} if {{ req.fhdr_cnt(x-api-key) gt 1 }}

    acl bearer req.fhdr(authorization),word(1,' '),lower -m str bearer
    http-request set-var(txn.token) req.fhdr(authorization),word(2,' ') if bearer
    http-request set-var(txn.token) req.fhdr(x-api-key) if !bearer
    http-request set-var(txn.key) var(txn.token),sha2(256),hex,lower,map_str(keys.map) if {{ var(txn.token) -m found }}
    http-request unset-var(txn.token)
    http-request del-header authorization
    http-request del-header x-api-key
    {_refuse(401, "a valid API key is needed", ("WWW-Authenticate", "Bearer"))} if !{{ var(txn.key) -m found }}

    acl read method GET HEAD
    acl write method POST
    acl inference path -m str {" ".join(access.CONVERSATIONS + access.EMBEDDINGS)}
    acl conversation path -m str {" ".join(access.CONVERSATIONS)}
    acl description path -m str {" ".join(access.DESCRIPTIONS)}
    acl list path -m str {" ".join(access.READ)}
    acl one_model path -m reg {access.ONE_MODEL}
    http-request set-var(txn.use) str(inference) if write inference
    http-request set-var(txn.use) str(metadata) if write description
    http-request set-var(txn.use) str(metadata) if read list
    http-request set-var(txn.use) str(metadata) if read one_model
    http-request set-var(txn.use) str(admin) if !{{ var(txn.use) -m found }}
    {_refuse(403, "this key may not do that; it takes one of scope admin")} if {{ var(txn.use) -m str admin }} \
!{{ var(txn.key),map_str(scopes.map) -m str admin }}

    http-request track-sc0 var(txn.key)
    http-request set-var(txn.limit) {limits}
    {_refuse(429, "too many requests with this key", ("Retry-After", str(period)))} \
if {{ sc0_gpc0_rate,sub(txn.limit) ge 0 }}
    http-request sc-inc-gpc0(0)

    acl runs_a_model var(txn.use) -m str inference
    {_refuse(413, "the request is too large")} if runs_a_model \
{{ req.hdr(content-length) -m int gt {gateway.body_limit * 1024 * 1024} }}
    http-request wait-for-body time 15s if runs_a_model
    # Nobody says how much is to come, so only what is there already can be let through.
    {_refuse(411, "a request of this size needs a Content-Length")} if runs_a_model \
!{{ req.hdr(content-length) -m found }} {{ req.body_len ge {gateway.inspect_kib * 1024 - MAX_HEADERS_BYTES} }}
{_routing(pool)}{merged}\
    {_refuse(503, "every model server is busy and the queue is full", ("Retry-After", "1"))} if runs_a_model \
{{ queue({BACKEND}) ge {pool.queue.length} }}
    use_backend {BACKEND} if runs_a_model
    default_backend first
"""


def _routing(pool: Pool) -> str:
    """What a request is routed by. `$.model` is read for the log as well, under every routing."""
    model = """\
    http-request set-var(txn.model) req.body,json_query('$.model'),bytes(0,200) if runs_a_model
"""
    if pool.routing == "least_connections":
        return model
    if pool.routing == "model":
        return f"""{model}\
    http-request set-var(txn.route) var(txn.model),lower,regsub(^library/,),regsub(:latest$,) if runs_a_model
    http-request set-var(txn.home) var(txn.route),map_str(homes.map) if runs_a_model
    http-request set-var-fmt(txn.latest) '%[var(txn.route)]:latest' if runs_a_model !{{ var(txn.home) -m found }}
    http-request set-var(txn.home) var(txn.latest),map_str(homes.map) if {{ var(txn.latest) -m found }}
"""
    # The first message of a user opens a conversation; a system message before it is often the same in all of them.
    return f"""{model}\
    http-request set-var(txn.role) req.body,json_query('$.messages[0].role') if conversation runs_a_model
    http-request set-var(txn.start) req.body,json_query('$.messages[0].content') if conversation runs_a_model
    http-request set-var(txn.start) req.body,json_query('$.messages[0].content[0].text') \
if conversation runs_a_model !{{ var(txn.start) -m found }}
    http-request set-var(txn.second) req.body,json_query('$.messages[1].content') \
if conversation runs_a_model {{ var(txn.role) -m str system developer }}
    http-request set-var(txn.second) req.body,json_query('$.messages[1].content[0].text') \
if conversation runs_a_model {{ var(txn.role) -m str system developer }} !{{ var(txn.second) -m found }}
    http-request set-var(txn.start) req.body,json_query('$.prompt'),bytes(0,1024) \
if conversation runs_a_model !{{ var(txn.start) -m found }}
    http-request set-var(txn.start) req.body,json_query('$.input'),bytes(0,1024) \
if conversation runs_a_model !{{ var(txn.start) -m found }}
    # A body that does not fit is told by how it begins, which is the same in every turn.
    http-request set-var(txn.start) req.body,bytes(0,{OPENING_BYTES}) \
if conversation runs_a_model !{{ var(txn.start) -m found }}
    http-request set-var-fmt(txn.route) '%[var(txn.model)]|%[var(txn.start)]|%[var(txn.second)]' \
if conversation runs_a_model
    http-request set-var(txn.route) uuid if runs_a_model !conversation
"""


def _inference(pool: Pool, upstreams: tuple[Upstream, ...], slots: int) -> str:
    homes = ""
    if pool.routing == "model":
        # A server whose queue is as long as what it works on gives requests away, at the price of a load elsewhere.
        homes = "".join(
            f"    use-server {it.name} if {{ var(txn.home) -m str {it.name} }} "
            f"{{ srv_queue({BACKEND}/{it.name}) lt {slots} }}\n"
            for it in upstreams
        )
    balance = (
        "    balance leastconn\n"
        if pool.routing == "least_connections"
        else "    balance hash var(txn.route)\n    hash-type consistent sdbm avalanche\n    hash-balance-factor 150\n"
    )
    # A refused connection is believed at once: the bounded load would otherwise send everything to the one server that
    # has nothing to do because it is gone.
    servers = "".join(
        f"{it.line} maxconn {slots} check inter 2s fastinter 500ms downinter 1s fall 2 rise 1 "
        "observe layer4 error-limit 1 on-error mark-down\n"
        for it in upstreams
    )
    return f"""\
backend {BACKEND}
{balance}{homes}\
    # Asks Ollama for what it has loaded, which it cannot say when its scheduler hangs; the port alone answers always.
    option httpchk
    http-check send meth GET uri /api/ps
    http-check expect rstring "models"
    # Another server is asked only where not one byte of an answer has come.
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response
{servers}"""


def _first(upstreams: tuple[Upstream, ...]) -> str:
    """Pulls, lists and descriptions: the models are on one volume, so that one server does for all, and another only
    stands in for it. They do not wait behind generations."""
    servers = "".join(
        f"{it.line} track {BACKEND}/{it.name}{' backup' if index else ''}\n" for index, it in enumerate(upstreams)
    )
    return f"backend first\n    retries 3\n    option redispatch 1\n    retry-on conn-failure\n{servers}"


_LOG = (
    "%{+json}o %(time)[accept_date(ms),ms_utime(%Y-%m-%dT%H:%M:%S.%3NZ)] %(client)[src] %(key)[var(txn.key)] "
    "%(method)[method] %(path)[var(txn.path),bytes(0,256)] %(model)[var(txn.model)] %(status)ST %(server)s "
    "%(end)ts %(wait_ms)Tw %(connect_ms)Tc %(first_byte_ms)Tr %(total_ms)Ta %(bytes_in)U %(bytes_out)B %(retries)rc"
)


def _refuse(status: int, text: str, header: tuple[str, str] | None = None) -> str:
    extra = f" hdr {header[0]} {header[1]}" if header else ""
    return f"http-request return status {status} content-type application/json lf-string '{_body(text)}'{extra}"


def _body(text: str) -> str:
    return f"%[var(txn.before)]{text}%[var(txn.after)]"


def _quoted(text: str) -> str:
    """Literal text within single quotes of a log format."""
    return text.replace("%", "%%")


def _seconds(duration: str) -> int:
    return max(1, round(duration_seconds(duration)))
