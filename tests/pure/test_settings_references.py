"""Properties of references to images and models and of digests: what is accepted is what Docker and Ollama take."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from components.models.names import parse as parse_model
from components.settings.problems import SettingsError
from components.settings.types import Digest, ImageReference, ModelName
from tests.pure.given import settings

IMAGE: TypeAdapter[str] = TypeAdapter(ImageReference)
MODEL: TypeAdapter[str] = TypeAdapter(ModelName)
DIGEST: TypeAdapter[str] = TypeAdapter(Digest)

components = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+)?", fullmatch=True)
hosts = st.from_regex(r"[a-z0-9]+(\.[a-z0-9]+)?:[0-9]{2,5}", fullmatch=True)
tags = st.from_regex(re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}", re.ASCII), fullmatch=True)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
repositories = st.tuples(
    st.one_of(st.just(""), hosts.map("{}/".format)), st.lists(components, min_size=1, max_size=3)
).map(lambda parts: parts[0] + "/".join(parts[1]))


@given(repositories, tags, digests)
def test_a_pinned_image_is_accepted_as_it_is_written(repository: str, tag: str, digest: str) -> None:
    assume(tag != "latest")
    for reference in (f"{repository}:{tag}", f"{repository}@sha256:{digest}", f"{repository}:{tag}@sha256:{digest}"):
        assert IMAGE.validate_python(reference) == reference


@given(repositories)
def test_an_image_that_can_move_is_refused(repository: str) -> None:
    for reference in (repository, f"{repository}:latest", f"{repository}@sha256:abc", f"{repository}:"):
        with pytest.raises(ValidationError):
            IMAGE.validate_python(reference)


@given(st.text(max_size=30))
def test_an_accepted_image_is_plain_ascii_without_spaces(text: str) -> None:
    for reference in (text, f"ollama/ollama:{text}"):
        try:
            accepted = IMAGE.validate_python(reference)
        except ValidationError:
            continue
        assert re.fullmatch(r"[\w./:@-]+", accepted, re.ASCII)


parts = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}", fullmatch=True)
spaces = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,12}/", fullmatch=True)
# Whole parts and debris: nearly a reference, so that some are one.
almost_references = st.lists(st.one_of(parts, hosts, st.sampled_from([*"/:.-@", "x" * 80]), st.text(max_size=2))).map(
    "".join
)


@given(st.one_of(st.just(""), spaces, st.tuples(hosts.map("{}/".format), spaces).map("".join)), parts, parts)
def test_a_model_with_a_tag_is_accepted_and_without_one_refused(before: str, model: str, tag: str) -> None:
    name = before + model
    assert MODEL.validate_python(f"{name}:{tag}") == f"{name}:{tag}"
    with pytest.raises(ValidationError):
        MODEL.validate_python(name)


@given(
    st.one_of(almost_references, st.text(max_size=20), repositories), parts, st.sampled_from(["", "mirror.example:1"])
)
@example("hf.co/model", "1b", "")
@example("localhost/model", "1b", "mirror.example:1")
@example("host/me/model", "1b", "mirror.example:1")
@example("x" * 81, "1", "")
@example("x", "1" * 81, "")
def test_whatever_model_the_settings_accept_can_be_asked_of_ollama(name: str, tag: str, mirror: str) -> None:
    try:
        found = settings(registry={"models": mirror}, models=[{"name": f"{name}:{tag}", "purpose": "embedding"}])
    except SettingsError:
        return
    model = found.models[0].name
    assert parse_model(model).tag == tag
    source = parse_model(found.model_source(model))
    assert (source.model, source.tag) == (parse_model(model).model, tag)
    assert source.host == (mirror if mirror and model.count("/") < 2 else parse_model(model).host)


@given(st.text(max_size=20).filter(lambda text: not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", text, re.ASCII)))
def test_a_model_with_a_strange_tag_is_refused(tag: str) -> None:
    assume("/" not in tag)
    with pytest.raises(ValidationError):
        MODEL.validate_python(f"model:{tag}")


@given(digests, st.integers(12, 64), st.booleans())
def test_a_digest_may_be_short_and_carry_its_algorithm(digest: str, length: int, marked: bool) -> None:
    text = ("sha256:" if marked else "") + digest[:length]
    assert DIGEST.validate_python(text) == text
    with pytest.raises(ValidationError):
        DIGEST.validate_python(digest[:11])
