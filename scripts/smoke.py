"""`make smoke`: one real round trip through the stack - embed, store, search, answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from components.dynamic import still_going
from components.errors import StackError
from components.models.api import OllamaClient
from components.models.errors import ServerUnreachableError
from components.reach import forwarded_url
from scripts.command import arguments, existing
from scripts.outputs import complete
from scripts.say import run, say

QUESTION = "How do I get my money back?"
PASSAGES = (
    "A purchase can be returned for a full refund within thirty days.",
    "The office is closed on public holidays and between Christmas and New Year.",
    "Parcels within the country arrive after two or three working days.",
    "The reading room asks visitors to keep their voices low.",
)
RIGHT = PASSAGES[0]
# Its weights are random numbers (images/stand_ins), so nobody should read its text as an answer.
NOISE_MODEL = "tiny-chat:"
ANSWER_TOKENS = 60
# Seconds for those tokens once the model is in memory: one token in two seconds, slower than any use of it would bear.
ANSWER_LIMIT_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A passage and its cosine distance from the question: 0 the same direction, 1 unrelated."""

    text: str
    distance: float


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
        if hits[0].text != RIGHT:
            raise StackError(
                f"The nearest passage is not the one that answers: {hits[0].text!r}.",
                f"check that {model} is an embedding model for this language",
            )
        print(f"  answer     {hits[0].text} (the nearest passage)")
        _generate(ollama, outputs.get("chat_models") or [])
    print(f"  {len(question)} dimensions, {len(PASSAGES)} rows, {time.monotonic() - started:.1f} s")
    return hits


def search(url: str, schema: str, question: list[float], passages: list[list[float]]) -> list[Hit]:
    """Stores the passages in a table of their own, searches it through an HNSW index, and drops it again."""
    table = sql.Identifier(schema, f"smoke_{time.time_ns()}")
    try:
        with psycopg.connect(url, connect_timeout=10, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE TABLE {} (text text NOT NULL, embedding vector({}) NOT NULL)").format(
                    table, sql.Literal(len(question))
                )
            )
            try:
                return _store_and_search(connection, table, question, passages)
            finally:
                connection.execute(sql.SQL("DROP TABLE {}").format(table))
    except psycopg.Error as error:
        # The message of a failed connection names host, port and user, never the password.
        raise StackError(f"PostgreSQL refused the round trip: {str(error).strip()}", "make up") from None


def _store_and_search(
    connection: psycopg.Connection, table: sql.Identifier, question: list[float], passages: list[list[float]]
) -> list[Hit]:
    with connection.cursor() as cursor:
        cursor.executemany(
            sql.SQL("INSERT INTO {} VALUES (%s, %s::vector)").format(table),
            [(text, str(vector)) for text, vector in zip(PASSAGES, passages, strict=True)],
        )
        cursor.execute(sql.SQL("CREATE INDEX ON {} USING hnsw (embedding vector_cosine_ops)").format(table))
        cursor.execute(
            sql.SQL("SELECT text, embedding <=> %s::vector AS distance FROM {} ORDER BY distance").format(table),
            (str(question),),
        )
        return [Hit(text=text, distance=distance) for text, distance in cursor.fetchall()]


def _generate(ollama: OllamaClient, chat_models: list[str]) -> None:
    if not chat_models:
        return
    model = chat_models[0]
    prompt = f"Answer in one sentence, from this passage alone.\nPassage: {RIGHT}\nQuestion: {QUESTION}"
    # Loading has a limit of its own in the client: weights of tens of gigabytes may take minutes.
    with still_going(f"loading {model}", say):
        ollama.load(model, "chat")
    started = time.monotonic()
    try:
        with (
            still_going(f"generating with {model}", say),
            OllamaClient(ollama.base_url, load_timeout=ANSWER_LIMIT_S) as bounded,
        ):
            text = bounded.generate(model, prompt, options={"num_predict": ANSWER_TOKENS})
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


if __name__ == "__main__":
    run(main)
