"""Every way to get a setting wrong that has a message of its own, with what that message has to say."""

from __future__ import annotations

from typing import Any

from tests.pure.given import CHAT, EMBEDDING


def container(**fields: Any) -> dict[str, Any]:
    return {"ollama": {"container": fields}}


# name -> (sections, key as written, words of what is allowed, the end of the mending command)
REFUSALS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "unknown section": ({"olama": {}}, "olama", "did you mean ollama?", "'ragstack:ollama' <value>"),
    "unknown key": (
        {"ollama": {"environment": {"num_paralel": 4}}},
        "ollama.environment.num_paralel",
        "did you mean num_parallel?",
        "'ragstack:ollama.environment.num_parallel' <value>",
    ),
    "unknown key in a list": (
        {"models": [EMBEDDING | {"keepalive": "1m"}]},
        "models[0].keepalive",
        "did you mean keep_alive?",
        "'ragstack:models[0].keep_alive' <value>",
    ),
    "unknown key below a choice": (
        {"postgres": {"tuning": {"sharedbuffers": "1g"}}},
        "postgres.tuning.sharedbuffers",
        "did you mean shared_buffers?",
        "'ragstack:postgres.tuning.shared_buffers' <value>",
    ),
    "unknown key unlike any": ({"network": {"zzz": 1}}, "network.zzz", "edge, private", "rm --stack dev --path"),
    "profile": ({"profile": "test"}, "profile", "'dev', 'prod'", "'ragstack:profile' dev"),
    "port 0": ({"ollama": {"port": 0}}, "ollama.port", "a port from 1 to 65535", "'ragstack:ollama.port' 11434"),
    "port 65536": ({"postgres": {"port": 65536}}, "postgres.port", "1 to 65535", "'ragstack:postgres.port' 5432"),
    "port in words": ({"ollama": {"port": "abc"}}, "ollama.port", "1 to 65535", "'ragstack:ollama.port' 11434"),
    "port used twice": ({"ollama": {"port": 5432}}, "postgres.port", "any port but 5432", "postgres.port' 5433"),
    "wide bind": ({"postgres": {"bind": "0.0.0.0"}}, "postgres.bind", "a loopback address", "bind' 127.0.0.1"),
    "bind by name": ({"ollama": {"bind": "localhost"}}, "ollama.bind", "an IPv4 or IPv6 address", "bind' 127.0.0.1"),
    "duration": (
        container(health={"interval": "soon"}),
        "ollama.container.health.interval",
        "30s, 5m or 1h30m",
        "'ragstack:ollama.container.health.interval' ",
    ),
    "duration without unit": (
        container(health={"timeout": 5}),
        "ollama.container.health.timeout",
        "30s, 5m or 1h30m",
        "timeout' 5s",
    ),
    "endless duration": (
        {"models": [EMBEDDING | {"pull_timeout": "9" * 15 + "h"}]},
        "models[0].pull_timeout",
        "up to 2562047h",
        "pull_timeout' 2h",
    ),
    "keep-alive": (
        {"models": [EMBEDDING | {"keep_alive": "always"}]},
        "models[0].keep_alive",
        "or -1 (keep loaded for ever), or 0",
        "keep_alive' 30m",
    ),
    "size": (container(memory="lots"), "ollama.container.memory", "auto, or a number with a unit", "memory' 4g"),
    "endless size": (container(memory="9" * 400 + "g"), "ollama.container.memory", "a number with a unit", "4g"),
    "size without a unit": (container(memory=2048), "ollama.container.memory", "auto, or a number with a unit", "4g"),
    "size in digits": (
        container(memory_reservation="2048"),
        "ollama.container.memory_reservation",
        "a number with a unit",
        "2g",
    ),
    "size below Docker's least": (
        container(memory_reservation="1m"),
        "ollama.container.memory_reservation",
        "6m",
        "2g",
    ),
    "size of a parameter": (
        {"postgres": {"tuning": {"shared_buffers": "big"}}},
        "postgres.tuning.shared_buffers",
        "a number with a unit",
        "shared_buffers' 512m",
    ),
    "tuning": ({"postgres": {"tuning": "fast"}}, "postgres.tuning", "auto, or a section", "in Pulumi.dev.yaml"),
    "cpus": (container(cpus=0), "ollama.container.cpus", "auto, or a number of CPUs above 0", "cpus' 2"),
    "log size": (container(log={"max_size": "10"}), "ollama.container.log.max_size", "10m or 100m", "100m"),
    "restart": (container(restart="never"), "ollama.container.restart", "'on-failure'", "restart' no"),
    "memory below reservation": (
        container(memory="2g", memory_reservation="4g"),
        "ollama.container.memory",
        "at least the reservation",
        "'ragstack:ollama.container.memory' auto",
    ),
    "image without tag": ({"images": {"ollama": "ollama/ollama"}}, "images.ollama", "a pinned tag or digest", "32.15"),
    "image of a registry with a port, without tag": (
        {"images": {"ollama": "localhost:5000/ollama"}},
        "images.ollama",
        "a pinned tag or digest",
        "ollama/ollama:0.32.15",
    ),
    "image latest": ({"images": {"pgvector": "a/b:latest"}}, "images.pgvector", "a pinned tag", "pgvector:0.8.6-pg17"),
    "no image": ({"images": {"ollama": "O llama"}}, "images.ollama", "repository:tag[@sha256:digest]", "32.15"),
    "image for another version": (
        {"images": {"pgvector": "registry:5000/pgvector:0.8.6-pg16"}},
        "postgres.version",
        "the version in the image's tag",
        "postgres.version' 16",
    ),
    "postgres version": ({"postgres": {"version": 15}}, "postgres.version", "16, 17, 18", "version' 17"),
    "registry with a scheme": ({"registry": {"images": "https://x"}}, "registry.images", "without a scheme", "5000"),
    "model without tag": (
        {"models": [EMBEDDING, {"name": "llama", "purpose": "chat"}]},
        "models[1].name",
        "tag",
        "22m",
    ),
    "model of a host without a namespace": (
        {"models": [EMBEDDING | {"name": "hf.co/model:1b"}]},
        "models[0].name",
        "[[host[:port]/]namespace/]model:tag",
        "22m",
    ),
    "model in too many parts": (
        {"models": [EMBEDDING | {"name": "h.x/a/b/c:1b"}]},
        "models[0].name",
        "[[host[:port]/]namespace/]model:tag",
        "22m",
    ),
    "model tag too long": (
        {"models": [EMBEDDING | {"name": "x:" + "1" * 81}]},
        "models[0].name",
        "up to 80 characters",
        "22m",
    ),
    "model listed twice by another spelling": (
        {"models": [EMBEDDING, EMBEDDING | {"name": "registry.ollama.ai/library/All-MiniLM:22m"}]},
        "models[1].name",
        "once",
        "'ragstack:models[1]'",
    ),
    "models' registry with a path": (
        {"registry": {"models": "mirror.example:5000/ollama"}},
        "registry.models",
        "without scheme and path",
        "5000",
    ),
    "model listed twice": ({"models": [EMBEDDING, CHAT, EMBEDDING]}, "models[2].name", "once", "'ragstack:models[2]'"),
    "model without purpose": ({"models": [{"name": "a:1"}]}, "models[0].purpose", "has to be set", "embedding"),
    "model purpose": ({"models": [EMBEDDING | {"purpose": "embed"}]}, "models[0].purpose", "'embedding'", "embedding"),
    "model digest": ({"models": [EMBEDDING | {"digest": "zz"}]}, "models[0].digest", "12 to 64 hexadecimal", "<value>"),
    "model as a word": ({"models": [EMBEDDING, 1]}, "models[1]", "keys below it", "in Pulumi.dev.yaml"),
    "no models": ({"models": []}, "models", "at least one model", "in Pulumi.dev.yaml"),
    "models as a word": ({"models": "llama"}, "models", "a list", "in Pulumi.dev.yaml"),
    "rag without embedding": ({"models": [CHAT]}, "models", "at least one", "models[1].purpose' embedding"),
    "GPU ids on a CPU": (
        {"accelerator": {"kind": "cpu", "gpus": ["0"]}},
        "accelerator.gpus",
        "with kind: nvidia",
        "'ragstack:accelerator.kind' nvidia",
    ),
    "GPU twice": ({"accelerator": {"kind": "nvidia", "gpus": ["0", 0]}}, "accelerator.gpus", "once", "gpus' all"),
    "GPUs in one text": ({"accelerator": {"kind": "nvidia", "gpus": "0,1"}}, "accelerator.gpus", "UUIDs", "gpus' all"),
    "GPU list empty": ({"accelerator": {"kind": "nvidia", "gpus": []}}, "accelerator.gpus", "a count", "gpus' all"),
    "pinned twice": (
        {"accelerator": {"kind": "nvidia", "visible_devices": [0]}},
        "accelerator.visible_devices",
        "rocm or vulkan",
        "rm --stack dev --path 'ragstack:accelerator.visible_devices'",
    ),
    "override without ROCm": (
        {"accelerator": {"kind": "vulkan", "hsa_override_gfx_version": "10.3.0"}},
        "accelerator.hsa_override_gfx_version",
        "with kind: rocm",
        "rm --stack dev --path 'ragstack:accelerator.hsa_override_gfx_version'",
    ),
    "accelerator": ({"accelerator": {"kind": "intel"}}, "accelerator.kind", "'vulkan', 'apple'", "kind' cpu"),
    "apple elsewhere": (
        {"accelerator": {"kind": "apple"}, "host": {"type": "aws"}},
        "accelerator.kind",
        "cpu, nvidia, rocm, vulkan",
        "kind' nvidia",
    ),
    "apple with a baked image": (
        {"accelerator": {"kind": "apple"}, "ollama": {"models_from": "image"}},
        "accelerator.kind",
        "models_from: pull and non_root: false",
        "kind' cpu",
    ),
    "two endpoints": (
        {"host": {"docker_host": "unix:///x", "docker_context": "y"}},
        "host.docker_context",
        "not both",
        "rm --stack dev --path 'ragstack:host.docker_context'",
    ),
    "endpoint": (
        {"host": {"docker_host": "/run/x"}},
        "host.docker_host",
        "unix:///path",
        "unix:///var/run/docker.sock",
    ),
    "endpoint over ssh": (
        {"host": {"docker_host": "ssh://me@mac"}},
        "host.docker_host",
        "tcp://127.0.0.1:port",
        "unix:///var/run/docker.sock",
    ),
    "aws at home": ({"host": {"aws": {}}}, "host.aws", "with type: aws", "'ragstack:host.aws'"),
    "region": ({"host": {"type": "aws", "aws": {"region": "x"}}}, "host.aws.region", "such as us-east-1", "us-east-1"),
    "one name for two networks": (
        {"network": {"private": "nn", "edge": "nn"}},
        "network.edge",
        "two different names",
        "'ragstack:network.edge'",
    ),
    "one volume for two": (
        {"ollama": {"volume": "vv"}, "postgres": {"volume": "vv"}},
        "postgres.volume",
        "a volume of its own",
        "volume' <name>",
    ),
    "quantized cache": (
        {"ollama": {"environment": {"kv_cache_type": "q8_0"}}},
        "ollama.environment.kv_cache_type",
        "f16, or flash_attention: true",
        "flash_attention' true",
    ),
    "flag": ({"ollama": {"non_root": "maybe"}}, "ollama.non_root", "a valid boolean", "non_root' false"),
    "library": (
        {"ollama": {"environment": {"llm_library": "A B"}}},
        "ollama.environment.llm_library",
        "such as",
        "v13",
    ),
    "count": ({"ollama": {"environment": {"num_parallel": 999}}}, "ollama.environment.num_parallel", "at most 256", ""),
    "two derived images": (
        {"ollama": {"non_root": True, "models_from": "image"}},
        "ollama.non_root",
        "one of the two",
        "non_root' false",
    ),
    "variable with a setting": (
        {"ollama": {"extra_environment": {"CUDA_VISIBLE_DEVICES": "1"}}},
        "ollama.extra_environment",
        "set accelerator.gpus",
        "in Pulumi.dev.yaml",
    ),
    "variable name": (
        {"ollama": {"extra_environment": {"1X": "a"}}},
        "ollama.extra_environment",
        "not starting",
        "yaml",
    ),
    "short password": (
        {"postgres": {"users": [{"name": "rag", "password": "short"}]}},
        "postgres.users[0].password",
        "at least 12 characters",
        "--secret",
    ),
    "no application user": (
        {"postgres": {"users": [{"name": "eve", "role": "readonly"}]}},
        "postgres.users",
        "one app user",
        "in Pulumi.dev.yaml",
    ),
    **{
        f"user {name}": (
            {"postgres": {"users": [{"name": name}]}},
            "postgres.users[0].name",
            "is not public, none or postgres",
            "'ragstack:postgres.users[0].name' rag",
        )
        for name in ("postgres", "public", "none", "pg_x", "pg_monitor")
    },
    **{
        f"user {name}": (
            {"postgres": {"database": "shop", "users": [{"name": "rag"}, {"name": name, "role": "readonly"}]}},
            "postgres.users[1].name",
            "any name but shop_owner and shop_reader",
            "'ragstack:postgres.users[1].name' readonly_user",
        )
        for name in ("shop_owner", "shop_reader")
    },
    **{
        f"database {name[:12]}": (
            {"postgres": {"database": name}},
            "postgres.database",
            "of at most 56 characters",
            "'ragstack:postgres.database' rag",
        )
        for name in ("postgres", "template0", "template1", "pg_x", "x" * 57, "Rag", "rag-1")
    },
    "user name too long": (
        {"postgres": {"users": [{"name": "x" * 64}]}},
        "postgres.users[0].name",
        "at most 63",
        "name' rag",
    ),
    "user listed twice": (
        {"postgres": {"users": [{"name": "rag"}, {"name": "rag", "role": "readonly"}]}},
        "postgres.users",
        "different names",
        "yaml",
    ),
    **{
        f"password with {name}": (
            {"postgres": {"users": [{"name": "rag", "password": f"long-enough-{character}"}]}},
            "postgres.users[0].password",
            "all of them printable ASCII",
            "--secret",
        )
        for name, character in (
            ("ligature", "\ufb01"),
            ("umlaut", "\u00e4"),
            ("soft hyphen", "\xad"),
            ("newline", "\n"),
        )
    },
    "user name": ({"postgres": {"users": [{"name": "Rag"}]}}, "postgres.users[0].name", "lower-case", "rag"),
    "section as a word": ({"ollama": "big"}, "ollama", "keys below it", "in Pulumi.dev.yaml"),
}
