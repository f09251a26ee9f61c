"""The gateway's own cost: throughput at 32 connections, added latency on one, memory when idle.

The upstream does next to nothing, so that what is left is the proxies. Candidates take turns in every round.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass

from docker.models.containers import Container

from bench.site import HERE, KEY, Site, gateway, image, nginx_text, settings_of, site, tools, uploaded
from bench.table import Line, at_least, at_most, median
from components.proxies import caddyfile, haproxy
from components.settings.edge import Edge

ROUNDS = 3
SECONDS = 4
CONNECTIONS = 32


@dataclass(frozen=True, kw_only=True)
class Result:
    """Requests per second, and milliseconds."""

    rate: float
    p50: float
    p95: float


def measure() -> list[Line]:
    with site() as here:
        targets, proxies = _candidates(here)
        for url in targets.values():
            _load(here, url, CONNECTIONS, 1)
        idle = {name: here.memory_mib(container) for name, container in proxies.items()}
        many: dict[str, list[Result]] = defaultdict(list)
        single: dict[str, list[Result]] = defaultdict(list)
        for turn in range(ROUNDS):
            print(f"gateway: round {turn + 1} of {ROUNDS}", flush=True)
            for name, url in targets.items():
                many[name].append(_load(here, url, CONNECTIONS, SECONDS))
                single[name].append(_load(here, url, 1, SECONDS))
    rate = {name: median(one.rate for one in results) for name, results in many.items()}
    p50 = {name: median(one.p50 for one in results) for name, results in single.items()}
    p95 = {name: median(one.p95 for one in results) for name, results in single.items()}
    for name, value in rate.items():
        alone = f"alone p50 {p50[name]:.3f} ms, p95 {p95[name]:.3f} ms"
        print(f"  {name:11} {value:9,.0f} requests/s at {CONNECTIONS} connections; {alone}")

    def added(what: str, which: str, values: dict[str, float], bound: float) -> Line:
        return at_most(
            f"added latency {what}", values[which] - values["direct"], bound, "ms",
            ours=f"{values[which]:.3f} ms", rival=f"{values['direct']:.3f} ms direct",
        )  # fmt: skip

    return [
        at_least("throughput, keys and routing on, nginx beside it", rate["gateway"], rate["nginx"], 2, "requests/s"),
        at_least("the same, nginx with kept connections", rate["gateway"], rate["nginx-kept"], 0.5, "requests/s"),
        at_least("throughput, Caddy alone beside it", rate["gateway"], rate["caddy"], 1, "requests/s"),
        added("p50", "gateway", p50, 0.2),
        added("p95", "gateway", p95, 1.0),
        added("p50 with the edge", "edge", p50, 0.5),
        at_most("memory of the idle gateway", idle["gateway"], 60, "MiB"),
        at_most("memory of the idle edge", idle["edge"], 60, "MiB"),
    ]


def _candidates(here: Site) -> tuple[dict[str, str], dict[str, Container]]:
    """URLs within the network by name, and the containers whose memory counts."""
    upstream = (HERE / "upstream.cfg").read_text(encoding="utf-8")
    for number in (1, 2):
        command = ["haproxy", "-f", "/usr/local/etc/haproxy/upstream.cfg"]
        made = here.run(f"ollama-{number}", image("haproxy"), command, user="0")
        uploaded(made, "/usr/local/etc/haproxy", "upstream.cfg", upstream)
    for name, kept in (("nginx", False), ("nginx-kept", True)):
        nginx = here.run(name, tools(here.client), ["nginx", "-c", "/etc/nginx/bench.conf", "-g", "daemon off;"])
        uploaded(nginx, "/etc/nginx", "bench.conf", nginx_text("least_conn;", kept=kept))
    caddy_command = ["sh", "-c", "cp /usr/bin/caddy /tmp/caddy && exec /tmp/caddy run --config /etc/caddy/Caddyfile"]
    caddy = here.run("caddy", image("caddy"), caddy_command, environment={"BENCH_KEY": KEY})
    uploaded(caddy, "/etc/caddy", "Caddyfile", (HERE / "Caddyfile").read_text(encoding="utf-8"))
    ours = gateway(here, settings_of("conversation"), {})
    edge = here.run("edge", image("caddy"), caddy_command)
    text = caddyfile.render(Edge(enabled=True, names=("edge",)), gateway=f"gateway:{haproxy.PORT}")
    uploaded(edge, "/etc/caddy", "Caddyfile", text)
    urls = {
        "direct": "http://ollama-1:11434",
        "gateway": f"http://gateway:{haproxy.PORT}",
        "nginx": "http://nginx:11433",
        "nginx-kept": "http://nginx-kept:11433",
        "caddy": "http://caddy:11433",
        "edge": f"https://edge:{caddyfile.HTTPS_PORT}",
    }
    return urls, {"gateway": ours, "edge": edge}


def _load(here: Site, url: str, connections: int, seconds: int) -> Result:
    threads = min(2, connections)
    load = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency"]
    command = [*load, "-s", "/etc/wrk.lua", f"{url}/api/chat"]
    container = here.run("wrk", tools(here.client), command, environment={"BENCH_KEY": KEY})
    uploaded(container, "/etc", "wrk.lua", (HERE / "wrk.lua").read_text(encoding="utf-8"))
    container.wait()
    said = container.logs().decode()
    container.remove()
    here.made.remove(container)
    found = json.loads(said.strip().splitlines()[-1])
    if found["failed"] or not found["requests"]:
        raise SystemExit(f"a round is void: {found} from {url}\n{said}")
    return Result(
        rate=found["requests"] / found["duration_us"] * 1e6, p50=found["p50_us"] / 1e3, p95=found["p95_us"] / 1e3
    )
