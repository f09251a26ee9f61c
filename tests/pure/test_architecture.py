"""The direction in which imports flow, read from the source: a sibling that imports a sibling fails here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Folder or module of `components` -> those it may import besides itself. A new one has to be placed here.
LAYERS: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "plan": {"settings", "errors"},
    "dynamic": {"errors"},
    "cancellation": set(),
    "reach": {"errors"},
    "hosts": {"settings", "plan", "errors", "dynamic", "reach"},
    "engine": {"errors", "reach"},
    "proxies": {"settings", "plan", "errors", "dynamic", "engine", "reach"},
    "services": {"settings", "plan", "errors", "proxies"},
    "models": {"settings", "plan", "errors", "dynamic", "reach"},
    "database": {"settings", "plan", "errors", "dynamic", "reach"},
    # Looks at everything together, and nothing else may look at it.
    "proof": {"settings", "plan", "errors", "dynamic", "reach", "engine", "hosts", "services", "models", "database"},
}
MODULES = sorted((ROOT / "components").rglob("*.py"))
# What would make settings or plan depend on more than their arguments.
IMPURE = {"os", "socket", "subprocess", "time", "datetime", "random", "secrets", "requests", "docker", "platform"}


def imported(source: str) -> set[str]:
    """Every module that a source imports, at its top or inside a function; `from a import b` gives `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def of(path: Path) -> set[str]:
    return imported(path.read_text(encoding="utf-8"))


def top(path: Path) -> str:
    """The layer a file belongs to: its folder below `components`, or itself."""
    return path.relative_to(ROOT / "components").parts[0].removesuffix(".py")


def below(package: str, modules: set[str]) -> set[str]:
    return {module for module in modules if module == package or module.startswith(f"{package}.")}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_reader_of_imports_sees_every_form() -> None:
    source = "import a.b\nfrom c import d\ndef f():\n    import e\nif True:\n    from g.h import i as j\n"
    assert imported(source) == {"a.b", "c", "c.d", "e", "g.h", "g.h.i"}


def test_every_part_of_components_has_a_place_in_the_layers() -> None:
    assert {top(path) for path in MODULES} - {"__init__"} == LAYERS.keys()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_flow_one_way(path: Path) -> None:
    allowed = LAYERS.get(top(path), set()) | {top(path)}
    inside = below("components", of(path))
    reached = {module.split(".")[1] for module in inside if module.count(".")}
    assert reached <= allowed, f"{name(path)} reaches {reached - allowed}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_components_know_nothing_of_what_is_around_them(path: Path) -> None:
    around = ("scripts", "trial", "tests", "images", "doctor", "policies", "bench", "__main__")
    assert not [module for package in around for module in below(package, of(path))]


@pytest.mark.parametrize("path", [path for path in MODULES if top(path) in ("settings", "plan")], ids=name)
def test_settings_and_plan_are_pure(path: Path) -> None:
    assert not {module for package in IMPURE for module in below(package, of(path))}
    assert not below("pulumi_docker", of(path)) | below("pulumi_random", of(path))
    assert "pulumi" not in of(path) or path.name == "load.py"


@pytest.mark.parametrize("path", [path for path in MODULES if top(path) not in ("hosts", "engine")], ids=name)
def test_the_docker_sdk_is_the_affair_of_hosts_and_engine_alone(path: Path) -> None:
    # A type of it may be named.
    assert not below("docker", of(path)) - {"docker.models.containers", "docker.models.containers.Container"}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_aws_is_the_aws_hosts_affair(path: Path) -> None:
    if (ROOT / "components" / "hosts" / "aws") not in path.parents:
        assert not below("pulumi_aws", of(path)) | below("boto3", of(path)) | below("botocore", of(path))


@pytest.mark.parametrize("path", [ROOT / "__main__.py", *MODULES], ids=name)
def test_only_load_reads_the_configuration(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    reads = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & {
        "Config",
        "get_config",
        "CONFIG",
    }
    reads |= below("pulumi.runtime.config", of(path)) | below("pulumi.Config", of(path))
    assert bool(reads) == (path == ROOT / "components" / "settings" / "load.py"), reads


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if top(path) == "models" and path.stem in ("names", "api", "lifecycle", "pull")],
    ids=name,
)
def test_what_talks_to_ollama_knows_nothing_of_pulumi(path: Path) -> None:
    assert not below("pulumi", of(path))


def test_only_the_program_exports_outputs() -> None:
    for path in MODULES:
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        named = {call.func.attr for call in calls if isinstance(call.func, ast.Attribute)}
        assert "export" not in named, name(path)


def test_the_program_is_a_table_of_contents() -> None:
    source = (ROOT / "__main__.py").read_text(encoding="utf-8")
    loops = (ast.For, ast.While, ast.Lambda, ast.ListComp, ast.DictComp, ast.GeneratorExp, ast.FunctionDef, ast.If)
    assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, loops)]
    assert len(source.splitlines()) <= 75
