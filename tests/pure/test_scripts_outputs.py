"""What the commands make of a stack's outputs: endpoints without the password, and a round trip that always ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest

from components.dynamic import still_going
from components.errors import StackError
from components.models.errors import ServerUnreachableError
from scripts import smoke
from scripts.smoke import answer
from scripts.up import print_endpoints, without_password

OUTPUTS: dict[str, Any] = {
    "ollama_url": "http://127.0.0.1:11434",
    "chat_models": ["qwen2.5:0.5b"],
    "database_url": "postgresql://rag:hunter2secret@127.0.0.1:5432/rag",
    "database_schema": "rag",
}


@pytest.mark.parametrize("more", [{"embedding_model": "all-minilm:22m"}, {}])
def test_endpoints_are_printed_without_the_password(more: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    print_endpoints("dev", OUTPUTS | more)
    printed = capsys.readouterr().out
    assert "hunter2secret" not in printed
    for word in ("http://127.0.0.1:11434", "qwen2.5:0.5b", "rag:***@127.0.0.1:5432/rag", *more.values()):
        assert word in printed


def test_a_password_with_quoted_characters_is_hidden_whole() -> None:
    assert (
        without_password("postgresql://rag:a%40b%2Fc@127.0.0.1:5432/rag") == "postgresql://rag:***@127.0.0.1:5432/rag"
    )


def test_a_round_trip_without_an_embedding_model_is_a_readable_error() -> None:
    with pytest.raises(StackError) as caught:
        answer(OUTPUTS)
    assert "no embedding model" in caught.value.cause
    assert "ragstack:models" in caught.value.mend


@pytest.mark.parametrize("name", ["ollama_url", "database_url", "database_schema"])
def test_a_round_trip_over_outputs_that_are_not_complete_is_a_readable_error(name: str) -> None:
    outputs = {key: value for key, value in OUTPUTS.items() if key != name} | {"embedding_model": "all-minilm:22m"}
    with pytest.raises(StackError, match=f"it has no {name}") as caught:
        answer(outputs)
    assert caught.value.mend == "make up"


class Ollama:
    """Answers after `seconds` of a clock that only it moves, or not at all when that is over its limit."""

    seconds = 0.0
    limits: tuple[float, ...] = ()
    base_url = "http://127.0.0.1:1"

    def __init__(self, *_: Any, load_timeout: float = 900.0) -> None:
        self._limit = load_timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def load(self, model: str, purpose: str) -> None:
        pass

    def generate(self, model: str, prompt: str, options: dict[str, Any]) -> str:
        Ollama.limits += (self._limit,)
        if self.seconds > self._limit:
            raise ServerUnreachableError("timed out", "look")
        time.sleep(0.05)
        return "Within thirty days."


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> type[Ollama]:
    monkeypatch.setattr(smoke, "OllamaClient", Ollama)
    monkeypatch.setattr(Ollama, "limits", ())
    return Ollama


def test_an_answer_that_takes_too_long_is_given_up_with_a_reason(
    server: type[Ollama], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "seconds", smoke.ANSWER_LIMIT_S + 1)
    clock = iter([0.0, smoke.ANSWER_LIMIT_S])
    monkeypatch.setattr(smoke, "still_going", _silent)
    monkeypatch.setattr(smoke, "time", _Clock(clock))
    with pytest.raises(StackError, match="big:70b gave no answer of 60 tokens within 120 s"):
        smoke._generate(Ollama(), ["big:70b"])  # type: ignore[arg-type]
    assert server.limits == (smoke.ANSWER_LIMIT_S,)


def test_a_server_that_is_gone_is_not_called_slow(server: type[Ollama], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "seconds", smoke.ANSWER_LIMIT_S + 1)
    with pytest.raises(ServerUnreachableError):
        smoke._generate(Ollama(), ["big:70b"])  # type: ignore[arg-type]


def test_waiting_for_an_answer_is_shown(
    server: type[Ollama], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(smoke, "still_going", lambda what, tell: still_going(what, tell, 0.01))
    smoke._generate(Ollama(), ["small:1b"])  # type: ignore[arg-type]
    printed = capsys.readouterr().out
    assert "generating with small:1b: 0 s" in printed
    assert "Within thirty days. (small:1b)" in printed


class _Clock:
    def __init__(self, seconds: Iterator[float]) -> None:
        self.monotonic = lambda: next(seconds)


@contextmanager
def _silent(*_: object) -> Iterator[None]:
    yield
