"""The CLI's backend and passphrase: made on first use, closed to others, never made anew over what is encrypted."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from components.errors import StackError
from scripts.backend import backend_environment, use_scratch_backend
from scripts.private_dir import private_dir

SALT = "encryptionsalt: v1:abc\n"
VARIABLES = ("PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        # Set first, so that what the code under test sets is taken back too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def stack_file(tmp_path: Path) -> Path:
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_text("config: {}\n")
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def state_of(project: Path, stack: str) -> None:
    stacks = project / ".ragstack" / "state" / ".pulumi" / "stacks" / "ragstack"
    stacks.mkdir(parents=True)
    (stacks / f"{stack}.json").touch()


def test_the_first_use_makes_a_backend_and_a_passphrase_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = backend_environment(tmp_path)
    passphrase = Path(environment["PULUMI_CONFIG_PASSPHRASE_FILE"])
    assert environment["PULUMI_BACKEND_URL"] == (tmp_path / ".ragstack" / "state").as_uri()
    assert passphrase == tmp_path / ".ragstack" / "passphrase"
    assert stat.S_IMODE(passphrase.stat().st_mode) == 0o600
    said = capsys.readouterr().out
    assert str(passphrase) in said
    assert passphrase.read_text().strip() not in said
    assert len(passphrase.read_text().strip()) >= 32


def test_the_second_use_keeps_the_passphrase_and_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Path(backend_environment(tmp_path)["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text()
    capsys.readouterr()
    assert Path(backend_environment(tmp_path)["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text() == first
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN"])
def test_a_backend_of_the_users_own_is_left_as_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "theirs")
    environment = backend_environment(tmp_path)
    assert environment[name] == "theirs"
    assert {"PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE_FILE"} & environment.keys() == {name}
    assert not (tmp_path / ".ragstack").exists()


def test_a_passphrase_of_the_users_own_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    environment = backend_environment(tmp_path)
    assert environment["PULUMI_CONFIG_PASSPHRASE"] == ""
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in environment
    assert not (tmp_path / ".ragstack" / "passphrase").exists()


@pytest.mark.parametrize(
    ("content", "mode", "says", "mend"),
    [
        ("secret\n", 0o644, "can be read by other users", "chmod 600"),
        ("secret\n", 0o660, "can be read by other users", "chmod 600"),
        (" \n", 0o600, "is empty", "restore it from your copy"),
        (None, 0, "cannot be read", "chmod 600"),
    ],
)
def test_a_passphrase_file_that_cannot_serve_is_refused_with_its_path(
    content: str | None, mode: int, says: str, mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_FILE", str(path))
    with pytest.raises(StackError) as caught:
        backend_environment(tmp_path)
    assert f"The passphrase file {path} {says}" in caught.value.cause
    assert mend in caught.value.mend
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_what_the_commands_keep_is_closed_to_others_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        backend_environment(tmp_path)
    finally:
        os.umask(before)
    folder = tmp_path / ".ragstack"
    assert [mode(path) for path in (folder, folder / "state")] == [0o700, 0o700]
    assert [mode(path) for path in (folder / "passphrase", folder / "env")] == [0o600, 0o600]


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / ".ragstack").mkdir()
    (tmp_path / ".ragstack").chmod(0o755)
    assert private_dir(tmp_path, "a", "b") == tmp_path / ".ragstack" / "a" / "b"
    assert mode(tmp_path / ".ragstack") == 0o700


def test_no_passphrase_is_made_over_a_stack_file_that_another_one_encrypted(tmp_path: Path, stack_file: Path) -> None:
    stack_file.write_text(SALT + "config:\n  ragstack:postgres: {users: [{password: {secure: v1:x}}]}\n")
    with pytest.raises(StackError) as caught:
        backend_environment(tmp_path, stack_file)
    assert "The passphrase that encrypted Pulumi.dev.yaml is not here" in caught.value.cause
    assert "restore .ragstack/passphrase" in caught.value.mend
    assert "PULUMI_CONFIG_PASSPHRASE" in caught.value.mend
    assert "remove the line" not in caught.value.mend
    assert not (tmp_path / ".ragstack").exists()


def test_a_salt_with_nothing_encrypted_by_it_may_be_removed(tmp_path: Path, stack_file: Path) -> None:
    stack_file.write_text(SALT)
    with pytest.raises(StackError) as caught:
        backend_environment(tmp_path, stack_file)
    assert "remove the line encryptionsalt from Pulumi.dev.yaml" in caught.value.mend
    stack_file.write_text("config: {}\n")
    assert backend_environment(tmp_path, stack_file)["PULUMI_CONFIG_PASSPHRASE_FILE"]


def test_the_salt_of_a_generated_stack_file_counts_and_each_file_is_named(tmp_path: Path, stack_file: Path) -> None:
    generated = tmp_path / ".ragstack" / stack_file.name
    generated.parent.mkdir()
    generated.write_text(SALT)
    stack_file.write_text(SALT)
    with pytest.raises(StackError, match=r"from Pulumi\.dev\.yaml and \.ragstack/Pulumi\.dev\.yaml"):
        backend_environment(tmp_path, generated)


@pytest.mark.parametrize("text", ["config: {}\n", SALT])
def test_no_passphrase_is_made_over_a_state_that_another_one_encrypted(
    text: str, tmp_path: Path, stack_file: Path
) -> None:
    stack_file.write_text(text)
    state_of(tmp_path, "dev")
    with pytest.raises(StackError, match=r"The passphrase that encrypted .* is not here") as caught:
        backend_environment(tmp_path, stack_file)
    assert "remove the line" not in caught.value.mend


def test_a_passphrase_from_the_user_serves_where_the_file_is_lost(
    tmp_path: Path, stack_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack_file.write_text(SALT)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "theirs")
    assert backend_environment(tmp_path, stack_file)["PULUMI_CONFIG_PASSPHRASE"] == "theirs"


def test_a_shell_gets_what_make_has_and_the_user_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "it's here"
    project.mkdir()
    monkeypatch.setattr("shutil.which", lambda _: None)
    environment = backend_environment(project, cli=tmp_path / "my bin" / "pulumi")
    assert capsys.readouterr().out.count("for the pulumi command by hand: . .ragstack/env\n") == 1
    show = f". {shlex.quote(str(project / '.ragstack' / 'env'))}"
    show += '; printf "%s\n" "$PULUMI_BACKEND_URL" "$PULUMI_CONFIG_PASSPHRASE_FILE" "$PATH"'
    shell = subprocess.run(["sh", "-c", show], capture_output=True, text=True, check=True, env={"PATH": "/bin"})
    expected = [environment["PULUMI_BACKEND_URL"], environment["PULUMI_CONFIG_PASSPHRASE_FILE"]]
    assert shell.stdout.splitlines() == [*expected, f"{tmp_path / 'my bin'}:/bin"]
    backend_environment(project, cli=tmp_path / "my bin" / "pulumi")
    assert capsys.readouterr().out == ""


def test_the_shells_file_leaves_out_what_the_user_has_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend_environment(tmp_path)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "theirs")
    backend_environment(tmp_path)
    text = (tmp_path / ".ragstack" / "env").read_text()
    assert "PULUMI_BACKEND_URL" in text
    assert "PASSPHRASE" not in text
    assert "theirs" not in text


def test_a_preview_of_a_new_stack_leaves_nothing_beside_the_project(tmp_path: Path, stack_file: Path) -> None:
    scratch = tmp_path / "scratch"
    use_scratch_backend(tmp_path, stack_file, scratch)
    assert backend_environment(tmp_path, stack_file)["PULUMI_BACKEND_URL"] == scratch.as_uri()
    assert not (tmp_path / ".ragstack").exists()


def test_a_preview_of_a_stack_that_is_there_looks_at_its_state(tmp_path: Path, stack_file: Path) -> None:
    backend_environment(tmp_path, stack_file)
    state_of(tmp_path, "dev")
    use_scratch_backend(tmp_path, stack_file, tmp_path / "scratch")
    assert "PULUMI_BACKEND_URL" not in os.environ


def test_a_preview_reads_a_new_stacks_secrets_by_the_passphrase_that_is_there(tmp_path: Path, stack_file: Path) -> None:
    kept = backend_environment(tmp_path, stack_file)["PULUMI_CONFIG_PASSPHRASE_FILE"]
    use_scratch_backend(tmp_path, stack_file, tmp_path / "scratch")
    assert os.environ["PULUMI_CONFIG_PASSPHRASE_FILE"] == kept


def test_a_preview_with_a_lost_passphrase_says_what_make_up_would(tmp_path: Path, stack_file: Path) -> None:
    stack_file.write_text(SALT)
    use_scratch_backend(tmp_path, stack_file, tmp_path / "scratch")
    with pytest.raises(StackError, match=r"The passphrase that encrypted .* is not here"):
        backend_environment(tmp_path, stack_file)


def test_a_preview_leaves_the_users_backend_alone(
    tmp_path: Path, stack_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "theirs")
    use_scratch_backend(tmp_path, stack_file, tmp_path / "scratch")
    assert os.environ["PULUMI_BACKEND_URL"] == "theirs"
