"""One real round trip of retrieval: passages are stored as vectors, indexed, and the nearest to a question is found."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from components.errors import StackError

QUESTION = "How do I get my money back?"
PASSAGES = (
    "A purchase can be returned for a full refund within thirty days.",
    "The office is closed on public holidays and between Christmas and New Year.",
    "Parcels within the country arrive after two or three working days.",
    "The reading room asks visitors to keep their voices low.",
)
RIGHT = PASSAGES[0]
# A sentence, the same in other words, and one about something else that shares words with the first.
PARAPHRASES = (
    (
        "The package will be delivered on Monday.",
        "Your parcel arrives at the start of the week.",
        "Bananas are yellow.",
    ),
    ("The meeting was cancelled.", "The appointment will not take place.", "The ship was painted blue."),
    ("How do I reset my password?", "I forgot my login secret and need a new one.", "How do I bake my bread?"),
)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A passage and its cosine distance from the question: 0 the same direction, 1 unrelated."""

    text: str
    distance: float


def prompt() -> str:
    """What a chat model is asked, with the passage that was found."""
    return f"Answer in one sentence, from this passage alone.\nPassage: {RIGHT}\nQuestion: {QUESTION}"


def refuse_wrong_passage(hits: Sequence[Hit], model: str) -> None:
    """Raises `StackError` when the nearest passage is not the one that answers."""
    if hits[0].text != RIGHT:
        raise StackError(
            f"The nearest passage is not the one that answers: {hits[0].text!r}.",
            f"check that {model} is an embedding model for this language",
        )


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Cosine similarity of two vectors of equal length: 1 the same direction, 0 unrelated."""
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / (math.hypot(*one) * math.hypot(*other))


def search(url: str, schema: str, question: list[float], passages: list[list[float]]) -> list[Hit]:
    """Stores the passages in a table of their own, searches it through an HNSW index, and drops it again. Best first.

    Raises `StackError` with PostgreSQL's words, which never hold the password.
    """
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
    # A type that no index takes is searched row by row all the same (README of pgvector/pgvector: 2,000 dimensions).
    index = sql.SQL("CREATE INDEX ON {} USING hnsw (embedding vector_cosine_ops)") if len(question) <= 2000 else None
    with connection.cursor() as cursor:
        cursor.executemany(
            sql.SQL("INSERT INTO {} VALUES (%s, %s::vector)").format(table),
            [(text, str(vector)) for text, vector in zip(PASSAGES, passages, strict=True)],
        )
        if index:
            cursor.execute(index.format(table))
        cursor.execute(
            sql.SQL("SELECT text, embedding <=> %s::vector AS distance FROM {} ORDER BY distance").format(table),
            (str(question),),
        )
        return [Hit(text=text, distance=distance) for text, distance in cursor.fetchall()]
