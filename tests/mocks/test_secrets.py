"""No secret where Docker would show it; every secret marked as one on its way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mocks.recording import GENERATED, PASSWORD, Declared, Recording, dev, prod_here, run, texts


def _without_uploads(resource: Declared) -> dict[str, Any]:
    return {key: value for key, value in resource.inputs.items() if key != "uploads"}


GIVEN = "given-secret-password"


def with_given_password() -> Recording:
    return run(postgres={"users": [{"name": "rag", "password": GIVEN}, {"name": "eve", "role": "readonly"}]})


@pytest.mark.parametrize("recording", [dev, prod_here, with_given_password])
def test_no_secret_is_in_anything_that_docker_shows(recording: Any) -> None:
    docker = [resource for resource in recording().resources if resource.type.startswith("docker:")]
    for resource in docker:
        shown = " ".join(texts(_without_uploads(resource)))
        assert GENERATED not in shown, resource.name
        assert GIVEN not in shown, resource.name


@pytest.mark.parametrize("recording", [dev, prod_here])
def test_no_output_was_made_text_before_it_was_known(recording: Any) -> None:
    assert not [one.name for one in recording().resources if "Calling __str__" in " ".join(texts(one.inputs))]


def test_the_search_for_secrets_would_find_one() -> None:
    passwords = [one for one in dev().resources if GENERATED in " ".join(texts(one.inputs))]
    assert {one.name for one in passwords} == {"postgres-container", "database-rag", "proof-inference"}


def test_the_administrators_password_reaches_the_container_as_a_file_and_as_a_secret() -> None:
    declared = dev().named("postgres-container")
    files = {upload["file"]: upload for upload in declared.inputs["uploads"]}
    assert files["/run/secrets/postgres-password"]["content"] == f"{GENERATED}-of-postgres-admin-password"
    assert "POSTGRES_PASSWORD_FILE=/run/secrets/postgres-password" in declared.inputs["envs"]
    assert not [env for env in declared.inputs["envs"] if env.startswith(("POSTGRES_PASSWORD=", "PGPASSWORD="))]
    index = [upload["file"] for upload in declared.inputs["uploads"]].index("/run/secrets/postgres-password")
    assert any(path in ("uploads", f"uploads[{index}].content") for path in declared.secret_inputs)
    assert "uploads" not in dev().named("ollama-container").inputs


def test_the_databases_passwords_are_secret_on_their_way_and_in_the_state() -> None:
    declared = with_given_password().named("database-rag")
    assert {"admin_password", "users[0].password", "users[1].password"} <= declared.secret_inputs
    assert {"admin_password", "users"} <= set(declared.secret_outputs)
    assert [user["password"] for user in declared.inputs["users"]] == [GIVEN, f"{GENERATED}-of-database-eve-password"]


def test_a_given_password_is_not_generated_and_is_in_the_url() -> None:
    recording = with_given_password()
    assert set(recording.of_type(PASSWORD)) == {"postgres-admin-password", "database-eve-password"}
    assert recording.exports["database_url"] == f"postgresql://rag:{GIVEN}@127.0.0.1:5432/rag"


def test_a_password_with_reserved_characters_is_quoted_in_the_url() -> None:
    recording = run(postgres={"users": [{"name": "rag", "password": "a:b/c@d?e#f g%'"}]})
    assert recording.exports["database_url"] == "postgresql://rag:a%3Ab%2Fc%40d%3Fe%23f%20g%25%27@127.0.0.1:5432/rag"
