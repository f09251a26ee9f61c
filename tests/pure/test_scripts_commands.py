"""Choices the commands make: which runner, whether a registry stands in, and how they end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.errors import StackError
from images.stand_ins import catalogue, registry
from scripts import closed_network, runner
from scripts.runner import EngineRunner, Target, TrialRunner, choose_runner, trial_state
from scripts.say import run
from scripts.stack_file import read_stack_file, settings_of
from tests.pure.given import settings

ROOT = Path(__file__).resolve().parents[2]
MODELS = [
    {"name": "all-minilm:22m", "purpose": "embedding", "keep_alive": "-1"},
    {"name": "qwen2.5:0.5b", "purpose": "chat", "preload": False},
    {"name": "llama3.2:3b", "purpose": "chat"},
]


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(project=tmp_path, stack="dev", config_file=tmp_path / "Pulumi.dev.yaml")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the Pulumi CLI."""
    path = tmp_path / "bin" / "pulumi"
    monkeypatch.setattr(runner, "find_pulumi", lambda: path)
    return path


@pytest.fixture
def no_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where the Pulumi CLI is not and cannot be."""
    monkeypatch.setattr(runner, "find_pulumi", lambda: None)
    monkeypatch.setattr(runner, "install_pulumi", lambda: None)


def test_the_engine_runs_the_program_where_it_is(target: Target, cli: Path) -> None:
    chosen = choose_runner(target, may_install=True, is_local=True)
    assert isinstance(chosen, EngineRunner)
    assert chosen.command("up")[0] == str(cli)
    assert chosen.environment["PATH"].startswith(f"{cli.parent}:")


def test_the_engine_is_installed_where_it_can_be(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "find_pulumi", lambda: None)
    monkeypatch.setattr(runner, "install_pulumi", lambda: target.project / "pulumi")
    assert isinstance(choose_runner(target, may_install=True, is_local=False), EngineRunner)


def test_trial_stands_in_for_local_stacks_and_says_so(
    target: Target, no_cli: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(choose_runner(target, may_install=True, is_local=True), TrialRunner)
    assert "no Pulumi CLI" in capsys.readouterr().out


def test_a_command_on_a_stack_that_is_there_installs_nothing_and_says_nothing(
    target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise AssertionError("installs")

    monkeypatch.setattr(runner, "find_pulumi", lambda: None)
    monkeypatch.setattr(runner, "install_pulumi", refuse)
    assert isinstance(choose_runner(target, is_local=True, may_install=False), TrialRunner)
    assert capsys.readouterr().out == ""


def test_trial_never_stands_in_for_a_remote_stack(target: Target, no_cli: None) -> None:
    with pytest.raises(StackError, match="cannot be installed, and this stack needs it"):
        choose_runner(target, may_install=True, is_local=False)


def test_a_wanted_engine_is_not_replaced_by_trial(
    target: Target, no_cli: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER", "engine")
    with pytest.raises(StackError, match="The Pulumi CLI is not here"):
        choose_runner(target, may_install=True, is_local=True)


def test_a_wanted_trial_asks_for_no_cli(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("looks for the CLI")

    monkeypatch.setattr(runner, "find_pulumi", refuse)
    monkeypatch.setattr(runner, "install_pulumi", refuse)
    monkeypatch.setenv("RUNNER", "trial")
    assert isinstance(choose_runner(target, may_install=True, is_local=True), TrialRunner)


def test_an_unknown_runner_is_refused_with_the_known_ones(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER", "terraform")
    with pytest.raises(StackError) as caught:
        choose_runner(target, may_install=True, is_local=True)
    assert "RUNNER=engine, RUNNER=trial" in caught.value.mend


def test_the_engine_does_not_take_over_what_trial_made(target: Target, cli: Path) -> None:
    trial_state(target).parent.mkdir(parents=True)
    trial_state(target).touch()
    with pytest.raises(StackError) as caught:
        choose_runner(target, may_install=True, is_local=True)
    assert "was made by trial" in caught.value.cause
    assert "make down STACK=dev RUNNER=trial" in caught.value.mend


def test_outputs_of_a_stack_that_is_not_up_are_a_readable_error(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nothing:
        returncode, stdout, stderr = 0, "{}", ""

    monkeypatch.setattr("subprocess.run", lambda *_, **__: Nothing())
    with pytest.raises(StackError, match="The stack dev is not up: it has no outputs") as caught:
        TrialRunner(target).outputs()
    assert caught.value.mend == "make up STACK=dev"


def test_a_failed_operation_ends_the_command_with_its_exit_code(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failed:
        returncode = 7

    monkeypatch.setattr("subprocess.run", lambda *_, **__: Failed())
    with pytest.raises(SystemExit) as caught:
        TrialRunner(target).run("up")
    assert caught.value.code == 7


def test_a_command_ends_with_one_message_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise StackError("It broke.", "mend it")

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: It broke.\n  mend: mend it\n"


def test_an_interrupted_command_says_that_it_may_be_run_again(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 130
    assert "run the same command again" in capsys.readouterr().err


def stood_in(own: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    return closed_network.stood_in(own, settings(models=MODELS), tmp_path / "Pulumi.dev.yaml")


def test_stand_ins_replace_images_registry_and_models_and_keep_the_rest(tmp_path: Path) -> None:
    own: dict[str, Any] = {
        "config": {"ragstack:ollama": {"port": 11500}, "ragstack:images": {"ollama": "a/b:1"}},
        "encryptionsalt": "own",
    }
    merged = stood_in(own, tmp_path)
    assert merged["config"]["ragstack:ollama"]["port"] == 11500
    assert merged["config"]["ragstack:registry"]["images"] == registry.IMAGES_AT
    assert merged["config"]["ragstack:images"]["ollama"] == catalogue.IMAGES[0].name
    assert merged["encryptionsalt"] == "own"
    assert own["config"]["ragstack:images"] == {"ollama": "a/b:1"}


def test_a_model_that_is_there_is_kept_with_its_settings_and_others_of_a_purpose_share_one_stand_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chat = next(model.name for model in catalogue.MODELS if model.purpose == "chat")
    assert stood_in({"config": {}}, tmp_path)["config"]["ragstack:models"] == [
        {"name": "all-minilm:22m", "purpose": "embedding", "preload": True, "keep_alive": "-1"},
        {"name": chat, "purpose": "chat", "preload": False},
    ]
    said = capsys.readouterr().out
    assert f"qwen2.5:0.5b cannot be had here: {chat} stands in" in said
    assert f"llama3.2:3b cannot be had here: {chat} stands in" in said
    assert "all-minilm" not in said


def test_the_salt_of_an_earlier_run_is_kept(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text("encryptionsalt: from-before\n")
    assert stood_in({"config": {}}, tmp_path)["encryptionsalt"] == "from-before"


def test_the_stood_in_dev_stack_is_one_that_the_program_accepts(tmp_path: Path) -> None:
    own = ROOT / "Pulumi.dev.yaml"
    generated = tmp_path / "Pulumi.dev.yaml"
    content = closed_network.stood_in(read_stack_file(own), settings_of(ROOT, own, "dev"), generated)
    closed_network.write_stack_file(generated, content)
    accepted = settings_of(ROOT, generated, "dev")
    assert accepted.ollama_image.startswith(registry.IMAGES_AT)
    assert accepted.embedding_model is not None
    built = tuple(map(int, catalogue.PGVECTOR_VERSION.split(".")))
    assert tuple(map(int, accepted.postgres.extension_min_version.split("."))) <= built


@pytest.mark.parametrize("sections", [{"host": {"type": "aws"}}, {"registry": {"images": "mirror:5000"}}])
def test_a_remote_host_or_a_mirror_of_ones_own_needs_no_stand_in(
    sections: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_network, "settings_of", lambda *_: settings(**sections))
    monkeypatch.setattr(closed_network, "_registry_answers", lambda _: False)
    assert closed_network.config_file(tmp_path, "dev") == tmp_path / "Pulumi.dev.yaml"


def test_a_registry_that_can_be_reached_leaves_the_users_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_network, "settings_of", lambda *_: settings())
    monkeypatch.setattr(closed_network, "_registry_answers", lambda _: True)
    assert closed_network.config_file(tmp_path, "dev") == tmp_path / "Pulumi.dev.yaml"
    assert not (tmp_path / ".ragstack").exists()
