"""`make smoke`: one real round trip through the stack - embed, store, search, answer."""

from __future__ import annotations

import time
from typing import Any

from components.dynamic import still_going
from components.errors import StackError
from components.models.api import OllamaClient
from components.models.errors import ServerUnreachableError
from components.proof.round_trip import PASSAGES, QUESTION, RIGHT, Hit, prompt, refuse_wrong_passage, search
from components.reach import forwarded_url
from scripts.command import arguments, existing
from scripts.outputs import complete
from scripts.say import run, say

# Its weights are random numbers (images/stand_ins), so nobody should read its text as an answer.
NOISE_MODEL = "tiny-chat:"
ANSWER_TOKENS = 60
# Seconds for those tokens once the model is in memory: one token in two seconds, slower than any use of it would bear.
ANSWER_LIMIT_S = 120.0


def main() -> None:
    answer(existing(arguments(str(__doc__)).parse_args().stack).runner.outputs())


def answer(outputs: dict[str, Any]) -> list[Hit]:
    """Prints the round trip and returns the hits, best first.

    Raises `StackError` when outputs are missing, a wrong passage is first, or the chat model gives no answer in time.
    """
    complete(outputs, "ollama_url", "database_url", "database_schema")
    model = outputs.get("embedding_model")
    if not model:
        raise StackError(
            "The stack has no embedding model, so there is nothing to search by.", "add one to ragstack:models"
        )
    started = time.monotonic()
    say("RAG round trip: embed, store, search, answer")
    reach = outputs.get("reach")
    with (
        forwarded_url(reach, outputs["ollama_url"]) as ollama_url,
        forwarded_url(reach, outputs["database_url"]) as database_url,
        OllamaClient(ollama_url) as ollama,
    ):
        with still_going(f"embedding with {model}, which may have to be loaded first", say):
            question, *passages = ollama.embed(model, [QUESTION, *PASSAGES])
        hits = search(database_url, outputs["database_schema"], question, passages)
        print(f"  question   {QUESTION}")
        for hit in hits:
            print(f"  distance   {hit.distance:.3f}  {hit.text}")
        refuse_wrong_passage(hits, model)
        print(f"  answer     {hits[0].text} (the nearest passage)")
        _generate(ollama, outputs.get("chat_models") or [])
    print(f"  {len(question)} dimensions, {len(PASSAGES)} rows, {time.monotonic() - started:.1f} s")
    return hits


def _generate(ollama: OllamaClient, chat_models: list[str]) -> None:
    if not chat_models:
        return
    model = chat_models[0]
    # Loading has a limit of its own in the client: weights of tens of gigabytes may take minutes.
    with still_going(f"loading {model}", say):
        ollama.load(model, "chat")
    started = time.monotonic()
    try:
        with (
            still_going(f"generating with {model}", say),
            OllamaClient(ollama.base_url, load_timeout=ANSWER_LIMIT_S) as bounded,
        ):
            text = bounded.generate(model, prompt(), options={"num_predict": ANSWER_TOKENS})
    except ServerUnreachableError:
        if time.monotonic() - started < ANSWER_LIMIT_S:
            raise
        raise StackError(
            f"{model} gave no answer of {ANSWER_TOKENS} tokens within {ANSWER_LIMIT_S:.0f} s.",
            "declare a smaller chat model in ragstack:models, or give the server more CPUs or a GPU",
        ) from None
    words = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    if model.startswith(NOISE_MODEL):
        print(f"  generated  {len(text)} characters of noise by {model}, a stand-in with random weights")
    else:
        print(f"  generated  {words} ({model})")


__all__ = ["RIGHT", "answer"]

if __name__ == "__main__":
    run(main)
