"""The gateway and its edge: that they let the right ones in and nobody else, and how long their certificates last."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests

from components.errors import StackError
from components.reach import forwarded
from components.settings.types import is_loopback
from doctor.checks.engine import REACHABLE
from doctor.finding import Check, Finding
from doctor.subject import ANSWER_S, Subject

GATEWAY = "gateway.answers"
# Days. Automatic certificates are renewed a month before their end, so that one with less was not renewed.
_LEAST_DAYS = 14


def _concerns(subject: Subject) -> bool:
    return subject.settings.gateway.enabled


def _url(subject: Subject) -> str:
    url = subject.outputs.get("gateway_url")
    if not url:
        raise StackError("The stack has no gateway_url among its outputs.", subject.up_command)
    return str(url)


@contextmanager
def _place(subject: Subject) -> Iterator[tuple[str, int]]:
    """Where the port of gateway or edge is reached from here: through SSH where it is on the machine's loopback."""
    parts = urlsplit(_url(subject))
    host, port = parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80)
    listens = subject.settings.edge.bind if subject.settings.edge.enabled else subject.settings.gateway.bind
    if subject.reach and is_loopback(listens):
        with forwarded(subject.reach, "127.0.0.1", port) as there:
            yield there
    else:
        yield host, port


def _ask(subject: Subject, method: str, path: str, key: str | None) -> requests.Response:
    scheme = urlsplit(_url(subject)).scheme
    with _place(subject) as (host, port), requests.Session() as session:
        session.trust_env = False
        # What is asked is whether it answers; the certificate has a check of its own.
        return session.request(
            method,
            f"{scheme}://{host}:{port}{path}",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=ANSWER_S,
            verify=False,
        )


def _key(subject: Subject, scope: str) -> str | None:
    """A generated key of that scope."""
    keys = subject.outputs.get("api_keys") or {}
    return next(
        (keys[key.name] for key in subject.settings.gateway.keys if key.scope == scope and key.name in keys), None
    )


def _answers(subject: Subject) -> Iterator[Finding]:
    subject.require_container(subject.names.gateway_container)
    key = _key(subject, "inference") or _key(subject, "admin")
    name = subject.names.edge_container if subject.settings.edge.enabled else subject.names.gateway_container
    mend = subject.there(f"docker logs --tail 50 {name}")
    try:
        answer = _ask(subject, "GET", "/api/tags", key)
    except requests.RequestException as error:
        yield Finding(seen=f"{_url(subject)} does not answer: {type(error).__name__}", mend=mend)
        return
    if key is None:
        yield Finding(seen=f"{_url(subject)} answers; its keys are known to their owners alone")
    elif answer.status_code != 200:
        yield Finding(seen=f"a valid key gets {answer.status_code}: {answer.text[:120]}", mend=mend)
    else:
        yield Finding(seen=f"{_url(subject)} answers a valid key")


def _refuses(subject: Subject) -> Iterator[Finding]:
    bad = f"the gateway runs with another configuration than this stack's: {subject.up_command}"
    without = _ask(subject, "GET", "/api/tags", None)
    if without.status_code != 401:
        yield Finding(seen=f"a request without a key gets {without.status_code} instead of 401", mend=bad)
    if key := _key(subject, "inference"):
        # Of all administrative requests the one that changes nothing where it is let through after all.
        admin = _ask(subject, "HEAD", "/api/blobs/sha256:0", key)
        if admin.status_code != 403:
            yield Finding(seen=f"administration with an inference key gets {admin.status_code}, not 403", mend=bad)
    yield Finding(seen="who has no key or not the scope is refused")


def _certificate(subject: Subject) -> Iterator[Finding]:
    name = urlsplit(_url(subject)).hostname or ""
    try:
        with _place(subject) as place:
            fault, ends = _judged(place, name, _shown(place, name))
    except OSError as error:
        raise StackError(f"No certificate was shown: {error}", "see gateway.answers") from None
    if fault:
        yield Finding(seen=f"the certificate of {name}: {fault}", mend=_renew(subject))
        return
    days = int(ends - time.time()) // 86_400
    # Caddy's internal authority gives certificates of half a day and renews them at two thirds of it.
    internal = subject.settings.edge.enabled and subject.settings.edge.certificate == "internal"
    if days < _LEAST_DAYS and not internal:
        yield Finding(seen=f"the certificate of {name} ends in {days} days", mend=_renew(subject))
    yield Finding(seen=f"a certificate for {name} until {time.strftime('%Y-%m-%d', time.gmtime(ends))}")


def _shown(place: tuple[str, int], name: str) -> str:
    """The server's own certificate as PEM, whatever it is worth."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with _wrapped(context, place, name) as connection:
        return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")


def _judged(place: tuple[str, int], name: str, certificate: str) -> tuple[str, float]:
    """What is wrong with it, empty when nothing is, and the time it ends, in seconds.

    It is trusted for itself: whether its authority is, depends on the client. Time and name are what is looked at.
    """
    context = ssl.create_default_context(cadata=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        with _wrapped(context, place, name) as connection:
            found = connection.getpeercert() or {}
            return "", float(ssl.cert_time_to_seconds(str(found["notAfter"])))
    except ssl.SSLCertVerificationError as error:
        return str(error.verify_message), 0.0


@contextmanager
def _wrapped(context: ssl.SSLContext, place: tuple[str, int], name: str) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(place, timeout=ANSWER_S) as plain,
        context.wrap_socket(plain, server_hostname=name) as wrapped,
    ):
        yield wrapped


def _renew(subject: Subject) -> str:
    if subject.settings.edge.enabled:
        name = subject.names.edge_container
        return subject.there(f"docker logs {name} (why it was not renewed), then docker restart {name}")
    return f"renew the files of gateway.tls, then {subject.up_command}"


CHECKS: tuple[Check, ...] = (
    Check(
        name=GATEWAY,
        title="the gateway answers a valid key",
        why="It is the one way in for clients.",
        look=_answers,
        after=(REACHABLE,),
        concerns=_concerns,
    ),
    Check(
        name="gateway.refuses",
        title="the gateway refuses everybody else",
        why="Ollama itself asks nobody for a key.",
        look=_refuses,
        after=(GATEWAY,),
        concerns=_concerns,
    ),
    Check(
        name="gateway.certificate",
        title="the certificate is valid, for this name and for a while",
        why="Clients refuse a certificate the moment it ends.",
        look=_certificate,
        after=(GATEWAY,),
        concerns=lambda subject: subject.settings.edge.enabled or subject.settings.gateway.tls is not None,
    ),
)
