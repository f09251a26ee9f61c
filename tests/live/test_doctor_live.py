"""The doctor on a real stack: nothing to say of a healthy one, and one name for each thing broken on purpose."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

import doctor.__main__ as command
from components.models.api import OllamaClient
from components.proxies.haproxy import BACKEND
from components.proxies.runtime import ask
from components.settings import Settings
from doctor.checks import CHECKS
from doctor.subject import Subject
from scripts.command import PROJECT, Command
from scripts.stack_file import settings_of
from tests.live.fixtures_containers import docker_client, free_port
from tests.live.gateway_load import CHAT, Client, chat_body, eventually, gateway_config
from tests.live.live_stack import LiveStack
from tests.pure.doctor_subject import results, wrong

EMBEDDER = "all-minilm:22m"
NAMES = {check.name for check in CHECKS}


@pytest.fixture(scope="module")
def stack(make_stack: Callable[..., LiveStack]) -> LiveStack:
    stack = make_stack(**gateway_config(keys=[{"name": "app"}, {"name": "ops", "scope": "admin"}]))
    stack.up()
    return stack


@pytest.fixture(scope="module")
def outputs(stack: LiveStack) -> dict[str, Any]:
    return stack.outputs()


@pytest.fixture(scope="module")
def declared(stack: LiveStack) -> Settings:
    return settings_of(PROJECT, stack.runner.target.config_file, stack.name)


@pytest.fixture
def look(stack: LiveStack, declared: Settings, outputs: dict[str, Any]) -> Iterator[Callable[..., dict[str, str]]]:
    """What is wrong, by all checks or the named ones; the stack has to be healthy again at the end of every test."""

    def look(*only: str, fix: bool = False, settings: Settings | None = None, **changed_outputs: Any) -> dict[str, str]:
        subject = Subject(stack.name, settings or declared, {**outputs, **changed_outputs})
        checks = [check for check in CHECKS if not only or check.name in only]
        if only:
            checks = [type(check)(**{**vars(check), "after": ()}) for check in checks]
        try:
            return wrong(results(subject, checks, fix=fix))
        finally:
            subject.close()

    yield look
    assert eventually(lambda: look(fix=True) == {}, within_s=40), look()


def container(stack: LiveStack, service: str) -> Any:
    return docker_client().containers.get(f"{stack.prefix}-{service}")


def psql(stack: LiveStack, statement: str) -> str:
    done = container(stack, "postgres").exec_run(["psql", "-U", "postgres", "-d", "rag", "-Atc", statement])
    assert done.exit_code == 0, done.output
    return str(done.output.decode().strip())


def haproxy(stack: LiveStack, order: str) -> None:
    assert ask(container(stack, "gateway"), order) is not None


def with_section(declared: Settings, section: str, **fields: Any) -> Settings:
    return declared.model_copy(update={section: getattr(declared, section).model_copy(update=fields)})


def test_a_healthy_stack_gives_no_finding_and_every_check_that_concerns_it_is_run(
    stack: LiveStack, declared: Settings, outputs: dict[str, Any]
) -> None:
    subject = Subject(stack.name, declared, outputs)
    found = results(subject, CHECKS)
    subject.close()
    assert {result.status for result in found.values()} == {"ok"}
    elsewhere = ("nvidia.", "rocm.", "apple.")
    absent = {check.name for check in CHECKS} - found.keys()
    assert {name for name in absent if not name.startswith(elsewhere)} == {
        "engine.cdi",
        "engine.nvidia_runtime",
        "engine.cgroup_driver",
        "machine.clock",
        "ollama.gpu_log",
        "gateway.certificate",
    }


def run_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stack: LiveStack, *arguments: str
) -> tuple[int, str]:
    settings = settings_of(PROJECT, stack.runner.target.config_file, stack.name)
    given = Command(stack=stack.name, settings=settings, runner=stack.runner)
    monkeypatch.setattr(command, "existing", lambda _stack: given)
    monkeypatch.setattr("sys.argv", ["doctor", "--stack", stack.name, *arguments])
    code = command.main()
    return code, capsys.readouterr().out


def test_the_command_says_0_for_a_healthy_stack_and_1_with_the_mend_for_a_broken_one(
    stack: LiveStack,
    look: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, text = run_main(monkeypatch, capsys, stack)
    assert code == 0
    assert "0 problems, 0 not looked at" in text
    code, document = run_main(monkeypatch, capsys, stack, "--json")
    parsed = json.loads(document)
    assert (code, parsed["exit"], parsed["form"]) == (0, 0, 1)
    container(stack, "ollama-2").pause()
    code, text = run_main(monkeypatch, capsys, stack)
    assert code == 1
    assert f"mend  docker unpause {stack.prefix}-ollama-2" in text
    code, text = run_main(monkeypatch, capsys, stack, "--fix")
    assert f"fixed unpaused {stack.prefix}-ollama-2" in text
    # A server that was restarted has forgotten its models, which the next run loads.
    assert eventually(lambda: look(fix=True) == {})


def test_a_stopped_server_and_a_stopped_database_are_named_and_the_others_are_looked_at(
    stack: LiveStack, declared: Settings, outputs: dict[str, Any], look: Callable[..., dict[str, str]]
) -> None:
    for service, skipped in (("ollama-2", set()), ("postgres", {name for name in NAMES if "postgres." in name})):
        container(stack, service).stop(timeout=5)
        subject = Subject(stack.name, declared, outputs)
        found = results(subject, CHECKS)
        subject.close()
        assert wrong(found).keys() == {"containers.running"}, service
        assert {name for name, result in found.items() if result.status == "skipped"} == skipped
        assert eventually(lambda: look(fix=True) == {})


def test_no_secret_is_in_what_the_doctor_says(
    stack: LiveStack,
    outputs: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, document = run_main(monkeypatch, capsys, stack, "--json")
    _, text = run_main(monkeypatch, capsys, stack)
    password = outputs["database_url"].split("://", 1)[1].split("@", 1)[0].split(":", 1)[1]
    for secret in (password, *outputs["api_keys"].values()):
        assert secret not in document + text


def test_the_command_says_2_when_it_could_not_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["doctor", "--stack", "no-such-stack"])
    assert command.main() == 2
    assert "There is no stack file Pulumi.no-such-stack.yaml" in capsys.readouterr().err


def test_detect_proposes_the_cpu_on_this_machine_or_what_it_has(
    stack: LiveStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = run_main(monkeypatch, capsys, stack, "detect")
    assert code == 0
    assert f"pulumi config set --stack {stack.name} --path 'ragstack:accelerator.kind' " in text


def test_a_port_that_somebody_else_holds(
    stack: LiveStack, declared: Settings, look: Callable[..., dict[str, str]]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        problems = look("machine.ports", settings=with_section(declared, "postgres", port=port))
        assert f"postgres.port is {port}, but another program already listens" in problems["machine.ports"]


@contextmanager
def stopped(stack: LiveStack, service: str) -> Iterator[None]:
    """The server's process does not run on while its container does, as with a hung one."""
    find = 'for p in /proc/[0-9]*; do [ "$(cat $p/comm)" = ollama ] && kill -%s ${p#/proc/}; done; true'
    container(stack, service).exec_run(["sh", "-c", find % "STOP"])
    try:
        yield
    finally:
        container(stack, service).exec_run(["sh", "-c", find % "CONT"])


def test_a_server_that_hangs(stack: LiveStack, look: Callable[..., dict[str, str]]) -> None:
    with stopped(stack, "ollama-2"):
        problems = look("ollama.answers")
    assert problems["ollama.answers"].startswith("ollama-2: ")
    assert "ollama-1" not in problems["ollama.answers"]


def test_a_server_on_the_cpu_of_a_machine_whose_gpu_was_declared(
    declared: Settings, look: Callable[..., dict[str, str]]
) -> None:
    gpu = with_section(declared, "accelerator", kind="nvidia", nvidia_mode="runtime")
    problems = look("ollama.library", "ollama.placement", settings=gpu)
    assert "found no cuda device when it started, but: cpu" in problems["ollama.library"]
    assert "lies wholly in the machine's memory" in problems["ollama.placement"]


def test_a_server_with_other_settings_than_are_declared(
    declared: Settings, look: Callable[..., dict[str, str]]
) -> None:
    environment = declared.ollama.environment.model_copy(update={"max_queue": 77})
    problems = look(settings=with_section(declared, "ollama", environment=environment))
    assert problems.keys() == {"ollama.settings"}
    assert "OLLAMA_MAX_QUEUE" in problems["ollama.settings"]


def test_a_model_that_was_deleted(
    declared: Settings, outputs: dict[str, Any], look: Callable[..., dict[str, str]]
) -> None:
    with OllamaClient(outputs["ollama_url"]) as ollama:
        ollama.copy(CHAT, "kept:1")
        ollama.delete(CHAT)
        try:
            problems = look()
            assert problems == {"models.present": f"ollama-1 does not have {CHAT}; ollama-2 does not have {CHAT}"}
        finally:
            ollama.copy("kept:1", CHAT)
            ollama.delete("kept:1")


def test_a_model_of_another_content_than_the_pinned_one(
    declared: Settings, look: Callable[..., dict[str, str]]
) -> None:
    models = tuple(model.model_copy(update={"digest": "0" * 64}) for model in declared.models[:1]) + declared.models[1:]
    problems = look(settings=declared.model_copy(update={"models": models}))
    assert problems.keys() == {"models.digest"}
    assert "and 000000000000 is pinned" in problems["models.digest"]


def test_a_model_that_was_unloaded_is_loaded_by_fix(
    outputs: dict[str, Any], look: Callable[..., dict[str, str]]
) -> None:
    with OllamaClient(outputs["ollama_url"]) as ollama:
        ollama.unload(EMBEDDER)
        assert eventually(lambda: not ollama.is_loaded(EMBEDDER))
        assert look() == {"models.resident": f"{EMBEDDER} is not in the memory of ollama-1"}
        look(fix=True)
        assert ollama.is_loaded(EMBEDDER)


def test_a_model_that_a_client_loaded_for_a_shorter_context(
    outputs: dict[str, Any], declared: Settings, look: Callable[..., dict[str, str]]
) -> None:
    with OllamaClient(outputs["ollama_url"]) as ollama:
        ollama.load(EMBEDDER, "embedding", keep_alive="-1", context=128)
        problems = look()
        assert problems.keys() == {"models.context"}
        assert "for 128 tokens, and 512 are declared" in problems["models.context"]
        look(fix=True)


def test_a_server_that_the_gateway_gives_nothing_to_do(stack: LiveStack, look: Callable[..., dict[str, str]]) -> None:
    haproxy(stack, f"set server {BACKEND}/ollama-2 state drain")
    problems = look()
    assert problems.keys() == {"pool.servers"}
    assert "ollama-2 gets nothing new to do" in problems["pool.servers"]
    look(fix=True)
    assert look() == {}


def test_slots_that_are_not_those_of_the_plan(stack: LiveStack, look: Callable[..., dict[str, str]]) -> None:
    haproxy(stack, f"set maxconn server {BACKEND}/ollama-1 1")
    try:
        assert look() == {"pool.slots": "ollama-1 is given 1 requests at once, and 4 are planned"}
    finally:
        haproxy(stack, f"set maxconn server {BACKEND}/ollama-1 4")


def test_requests_that_wait(
    stack: LiveStack, declared: Settings, outputs: dict[str, Any], look: Callable[..., dict[str, str]]
) -> None:
    short = with_section(declared, "pool", queue=declared.pool.queue.model_copy(update={"length": 4}))
    client = Client(outputs["gateway_url"], outputs["api_keys"]["app"])
    threads = [
        threading.Thread(target=lambda: client.send("POST", "/api/chat", json=chat_body("go"))) for _ in range(6)
    ]
    for server in ("ollama-1", "ollama-2"):
        haproxy(stack, f"set maxconn server {BACKEND}/{server} 1")
    with stopped(stack, "ollama"), stopped(stack, "ollama-2"):
        for thread in threads:
            thread.start()
        waiting = "requests wait, and 4 may"
        seen = eventually(lambda: waiting in look("pool.queue", settings=short).get("pool.queue", ""), within_s=4)
    for server in ("ollama-1", "ollama-2"):
        haproxy(stack, f"set maxconn server {BACKEND}/{server} 4")
    for thread in threads:
        thread.join()
    assert seen


def test_a_database_that_lets_the_application_in_no_more(
    stack: LiveStack, outputs: dict[str, Any], look: Callable[..., dict[str, str]]
) -> None:
    user = outputs["database_url"].split("://", 1)[1].split(":", 1)[0]
    psql(stack, f'alter role "{user}" nologin')
    try:
        problems = look()
        assert problems.keys() == {"postgres.answers"}
        assert "not permitted to log in" in problems["postgres.answers"]
    finally:
        psql(stack, f'alter role "{user}" login')


def test_another_postgresql_than_is_declared(declared: Settings, look: Callable[..., dict[str, str]]) -> None:
    problems = look(settings=with_section(declared, "postgres", version=18))
    assert problems == {"postgres.version": "PostgreSQL 17 runs, and 18 is declared"}


def test_a_setting_that_waits_for_a_restart(stack: LiveStack, look: Callable[..., dict[str, str]]) -> None:
    psql(stack, "alter system set max_locks_per_transaction = 65")
    psql(stack, "select pg_reload_conf()")
    try:
        assert eventually(lambda: "max_locks_per_transaction" in look().get("postgres.settings", ""))
        assert look().keys() == {"postgres.settings"}
    finally:
        # PostgreSQL takes the mark away when it reads the value that is in force, not when the line is gone.
        psql(stack, "alter system set max_locks_per_transaction = 64")
        psql(stack, "select pg_reload_conf()")


def test_connections_that_run_out(outputs: dict[str, Any], look: Callable[..., dict[str, str]]) -> None:
    with ExitStack() as opened:
        for _ in range(91):
            opened.enter_context(psycopg.connect(outputs["database_url"]))
        problems = look()
    assert problems.keys() == {"postgres.connections"}
    assert "of 100 connections are taken" in problems["postgres.connections"]


@pytest.fixture
def rows(outputs: dict[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(outputs["database_url"], autocommit=True) as connection:
        connection.execute("drop table if exists broken")
        yield connection
        connection.execute("drop table if exists broken")


def test_an_index_whose_build_broke_off_is_built_again_by_fix_once_its_rows_allow(
    rows: psycopg.Connection[Any], look: Callable[..., dict[str, str]]
) -> None:
    rows.execute("create table broken (number int)")
    rows.execute("insert into broken values (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        rows.execute("create unique index concurrently broken_number on broken (number)")
    problems = look()
    assert problems.keys() == {"postgres.indexes"}
    assert "broken_number is invalid" in problems["postgres.indexes"]
    look(fix=True)
    assert look().keys() == {"postgres.indexes"}
    rows.execute("delete from broken where ctid = (select min(ctid) from broken)")
    rows.execute("drop index if exists broken_number_ccnew")
    look(fix=True)
    assert look() == {}


def test_vectors_of_another_length_than_the_models(
    rows: psycopg.Connection[Any], look: Callable[..., dict[str, str]]
) -> None:
    rows.execute("create table broken (fits vector(384), not_this vector(3))")
    problems = look()
    assert problems.keys() == {"postgres.dimension"}
    assert "broken.not_this is vector(3), and all-minilm:22m gives 384" in problems["postgres.dimension"]
    rows.execute("drop table broken")


def test_a_gateway_that_takes_no_valid_key(outputs: dict[str, Any], look: Callable[..., dict[str, str]]) -> None:
    problems = look(api_keys={**outputs["api_keys"], "app": "rsk_of_another_stack"})
    assert problems.keys() == {"gateway.answers"}
    assert "a valid key gets 401" in problems["gateway.answers"]
    gone = look(gateway_url=f"http://127.0.0.1:{free_port()}")
    assert gone.keys() == {"gateway.answers"}
    assert "does not answer: ConnectionError" in gone["gateway.answers"]


def test_a_gateway_that_lets_everybody_in(outputs: dict[str, Any], look: Callable[..., dict[str, str]]) -> None:
    # Ollama itself in its place, as where somebody opened its port.
    problems = look(gateway_url=outputs["ollama_url"])
    assert problems.keys() == {"gateway.refuses"}
    assert "without a key gets 200 instead of 401" in problems["gateway.refuses"]


@contextmanager
def served(folder: Path, *, name: str, begins: int, ends: int) -> Iterator[int]:
    """A TLS server on loopback with a certificate for `name`, valid from and to these days from now; its port."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + datetime.timedelta(days=begins))
        .not_valid_after(now + datetime.timedelta(days=ends, hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "both.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*form))
    port = free_port()
    arguments = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(pem), "-key", str(pem), "-quiet"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE) as server:
        assert eventually(lambda: _answers_tls(port))
        try:
            yield port
        finally:
            server.kill()


def _answers_tls(port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as plain, context.wrap_socket(plain):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("name", "begins", "ends", "words"),
    [
        ("localhost", -10, 100, ""),
        ("localhost", -10, 5, "ends in 5 days"),
        ("localhost", -100, -10, "certificate has expired"),
        ("localhost", 2, 100, "certificate is not yet valid"),
        ("elsewhere.example", -10, 100, "Hostname mismatch"),
    ],
)
def test_a_certificate_that_ends_soon_or_is_not_for_this_name(
    tmp_path: Path,
    declared: Settings,
    look: Callable[..., dict[str, str]],
    name: str,
    begins: int,
    ends: int,
    words: str,
) -> None:
    tls = {"certificate": "/given.pem", "private_key": "/given.key"}
    gateway = type(declared.gateway).model_validate({**declared.gateway.model_dump(), "tls": tls})
    secured = declared.model_copy(update={"gateway": gateway})
    with served(tmp_path, name=name, begins=begins, ends=ends) as port:
        problems = look("gateway.certificate", settings=secured, gateway_url=f"https://localhost:{port}")
    assert (problems == {}) == (words == "")
    assert words in problems.get("gateway.certificate", "")
