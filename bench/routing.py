"""What routing is worth with real Ollama: cache reuse, model loads, spread, and the loss of a server.

The models are tiny and run on the CPU; what is compared is the same work behind the gateway and behind nginx.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests
from docker.models.containers import Container

from bench.site import KEY, MODELS, Site, gateway, image, nginx_text, settings_of, site, tools, uploaded
from bench.table import Line, at_least, at_most, median, p95
from components.plan.pool import homes
from components.proxies import haproxy
from images.stand_ins import registry

CHAT = MODELS[0]
CONVERSATIONS = 8
# Bytes are tokens to the tiny model's vocabulary: more than 2,000 of context before the second turn.
CONTEXT = "The gateway listens on one port and knows every client by name. " * 36
MIXED = 45
INDEPENDENT = 200
KILLED_AFTER = 30


def measure() -> list[Line]:
    lines = []
    with _pool(loaded=2) as (here, servers):
        ours, rival = _ours(here, "conversation"), _nginx(here)
        _warm(servers)
        lines += _second_turn(ours, rival)
        lines += _spread(ours)
        lines += _kill(ours, servers[1])
    return [*lines, *(_loads(loaded) for loaded in (2, 1))]


@contextmanager
def _pool(loaded: int) -> Iterator[tuple[Site, list[Container]]]:
    """Two real servers on one volume that hold so many models each."""
    environment = {
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_MAX_LOADED_MODELS": str(loaded),
        "OLLAMA_NUM_PARALLEL": "4",
        "OLLAMA_CONTEXT_LENGTH": "4096",
        "OLLAMA_KEEP_ALIVE": "-1",
    }
    with site() as here:
        volume = here.client.volumes.create(f"{here.network}-models")
        try:
            servers = []
            for number in (1, 2):
                servers.append(
                    here.run(
                        f"ollama-{number}",
                        image("ollama"),
                        [],
                        environment=environment,
                        volumes=[f"{volume.name}:/root/.ollama"],
                        extra_hosts={"host.docker.internal": "host-gateway"},
                        ports={11434: ("127.0.0.1", None)},
                    )
                )
                servers[-1].start()
            _pull(servers[0])
            yield here, servers
        finally:
            for server in here.made:
                server.remove(force=True, v=True)
            here.made.clear()
            volume.remove(force=True)


def _pull(server: Container) -> None:
    for _ in range(100):
        if server.exec_run(["ollama", "list"]).exit_code == 0:
            break
        time.sleep(0.1)
    for name in MODELS:
        source = f"{registry.MODELS_AT}/library/{name}"
        for command in (["ollama", "pull", "--insecure", source], ["ollama", "cp", source, name]):
            done = server.exec_run(command)
            if done.exit_code:
                raise SystemExit(f"{command} failed: {done.output.decode()[-300:]}")


def _ours(here: Site, routing: str, slots: int = 8) -> tuple[str, Container]:
    settings = settings_of(routing, pool={"servers": 2, "routing": routing, "slots": slots, "queue": {"length": 1000}})
    container = gateway(here, settings, homes(settings, ["ollama-1", "ollama-2"]))
    url = here.url(container, haproxy.PORT)
    _until_it_answers(url)
    return url, container


def _nginx(here: Site) -> str:
    """The baseline with a turn each, which is what the report's configuration does."""
    command = ["nginx", "-c", "/etc/nginx/bench.conf", "-g", "daemon off;"]
    container = here.run("nginx", tools(here.client), command, ports={11433: ("127.0.0.1", None)})
    # One worker: several count their turns each for themselves, which is a turn each no more.
    uploaded(container, "/etc/nginx", "bench.conf", nginx_text("", kept=False).replace("auto", "1"))
    url = here.url(container, 11433)
    _until_it_answers(url)
    return url


def _until_it_answers(url: str) -> None:
    for _ in range(200):
        try:
            if _session().get(f"{url}/api/version", timeout=2).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.headers["authorization"] = f"Bearer {KEY}"
    return session


def _warm(servers: list[Container]) -> None:
    """Both models on both servers, so that no load is among what is measured."""
    for server in servers:
        server.reload()
        url = f"http://127.0.0.1:{server.ports['11434/tcp'][0]['HostPort']}"
        _post(url, "/api/generate", {"model": CHAT, "prompt": "x", "options": {"num_predict": 1}})
        _post(url, "/api/embed", {"model": MODELS[2], "input": "x"})


def _post(url: str, path: str, body: dict[str, object]) -> requests.Response:
    answer = _session().post(f"{url}{path}", json={"stream": False, **body}, timeout=300)
    answer.raise_for_status()
    return answer


def _second_turn(ours: tuple[str, Container], rival: str) -> list[Line]:
    """Seconds to the first token of the second turn of a conversation, the two in turns."""
    found: dict[str, list[float]] = {"ours": [], "rival": []}
    for number in range(CONVERSATIONS):
        print(f"routing: conversation {number + 1} of {CONVERSATIONS}", flush=True)
        for name, url in (("ours", ours[0]), ("rival", rival)):
            messages = [{"role": "user", "content": f"{name} {number}. {CONTEXT}"}]
            answer = _post(url, "/api/chat", {"model": CHAT, "messages": messages, "options": {"num_predict": 4}})
            messages += [answer.json()["message"], {"role": "user", "content": "And who may reach it?"}]
            found[name].append(_first_token(url, messages))
    faster = at_least(
        "second turn's time to first token (median), nginx round robin beside it",
        1 / median(found["ours"]), 1 / median(found["rival"]), 10, "/s",
    )  # fmt: skip
    print("  seconds to first token:", {name: [round(one, 3) for one in values] for name, values in found.items()})
    tail = at_least("the same, p95", 1 / p95(found["ours"]), 1 / p95(found["rival"]), 1, "/s")
    return [faster, tail]


def _first_token(url: str, messages: list[dict[str, str]]) -> float:
    body = {"model": CHAT, "messages": messages, "stream": True, "options": {"num_predict": 2}}
    started = time.perf_counter()
    with _session().post(f"{url}/api/chat", json=body, stream=True, timeout=300) as answer:
        answer.raise_for_status()
        next(answer.iter_lines())
    return time.perf_counter() - started


def _spread(ours: tuple[str, Container]) -> list[Line]:
    before = _by_server(ours[1])
    _many(lambda number: _post(ours[0], "/api/embed", {"model": MODELS[2], "input": f"line {number}"}), INDEPENDENT, 4)
    counts = _by_server(ours[1]) - before
    most, mean = max(counts.values()), sum(counts.values()) / 2
    return [at_most("independent requests on the busier server, of the mean", most / mean, 1.3, "x", ours=str(counts))]


def _by_server(container: Container) -> Counter[str]:
    lines = [json.loads(line) for line in container.logs().decode().splitlines() if line.startswith("{")]
    return Counter(line["server"] for line in lines if line["path"] == "/api/embed")


def _kill(ours: tuple[str, Container], victim: Container) -> list[Line]:
    done: list[int] = []

    def one(number: int) -> None:
        if number == KILLED_AFTER:
            victim.kill()
        body: dict[str, object] = {"model": MODELS[2], "input": f"line {number}", "stream": False}
        done.append(_session().post(f"{ours[0]}/api/embed", json=body, timeout=120).status_code)

    _many(one, INDEPENDENT, 6)
    failed = sum(status != 200 for status in done)
    return [at_most(f"failed of {len(done)} requests, one of two servers killed", failed, 0, "requests")]


def _loads(loaded: int) -> Line:
    """How many models are loaded from disk for one mixed workload, counted by Ollama's own log.

    Each candidate gets servers of its own: Ollama does not unload what another one's traffic has left behind.
    """
    counts = {}
    mix = random.Random(7).choices(MODELS, k=MIXED)  # noqa: S311 - the same mix for both, not a secret
    for name in ("rival", "ours"):
        with _pool(loaded=loaded) as (here, servers):
            url = _nginx(here) if name == "rival" else _ours(here, "model")[0]
            for number, model in enumerate(mix):
                path, text = ("/api/embed", "input") if "minilm" in model else ("/api/generate", "prompt")
                _post(url, path, {"model": model, text: f"line {number}", "options": {"num_predict": 1}})
            counts[name] = _loaded(servers)
    return at_most(
        f"model loads, three models, servers that hold {loaded}, of nginx round robin's",
        counts["ours"] / max(1, counts["rival"]), 0.5, "x", ours=f"{counts['ours']}", rival=f"{counts['rival']}",
    )  # fmt: skip


def _loaded(servers: list[Container]) -> int:
    """Ollama says so once for each (`sched.go`: "loaded runners")."""
    return sum(server.logs().count(b'msg="loaded runners"') for server in servers)


def _many(one: Callable[[int], object], count: int, clients: int) -> None:
    """Calls `one(number)` so often, by so many clients at once."""
    numbers = iter(range(count))
    lock = threading.Lock()

    def client() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            one(number)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
