"""The database resource as far as it goes without a server: what is refused, what is a change, what stays hidden."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from pulumi.runtime import rpc

from components.database.layout import Layout, User, version
from components.database.passwords import verifies
from components.database.resource import DatabaseProvider
from components.errors import StackError

# RFC 7677, section 3: the password is "pencil". The two keys follow from its salt and iteration count.
VERIFIER = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


def inputs(**changes: Any) -> dict[str, Any]:
    users = [{"name": "app", "role": "app", "password": "hidden-one"}]
    plain = {"host": "127.0.0.1", "port": 5432, "admin_user": "postgres", "admin_password": "hidden-two"}
    return plain | {"database": "rag", "schema": "rag", "users": users, "server": "one"} | changes


def state(**changes: Any) -> dict[str, Any]:
    return inputs() | {"server_version": "17.5", "extension_version": "0.8.0", "missing": []} | changes


@pytest.fixture
def provider() -> DatabaseProvider:
    return DatabaseProvider()


def test_nothing_changed_is_no_diff(provider: DatabaseProvider) -> None:
    assert not provider.diff("rag", state(), inputs()).changes
    assert not provider.diff("rag", state(), inputs(ready_timeout_s=5)).changes


def test_what_a_refresh_found_missing_is_a_change(provider: DatabaseProvider) -> None:
    assert provider.diff("rag", state(missing=["app may not connect to rag"]), inputs()).changes


@pytest.mark.parametrize(
    "change",
    [
        {"server": "two"}, {"port": 5433}, {"admin_password": "new"}, {"extension_min_version": "0.8.2"},
        {"users": [{"name": "app", "role": "app", "password": "new"}]},
    ],
)  # fmt: skip
def test_any_other_change_updates_in_place(provider: DatabaseProvider, change: dict[str, Any]) -> None:
    diff = provider.diff("rag", state(), inputs(**change))
    assert (diff.changes, diff.replaces) == (True, [])


def test_another_database_replaces(provider: DatabaseProvider) -> None:
    assert provider.diff("rag", state(), inputs(database="other")).replaces == ["database"]


@pytest.mark.parametrize("unknown", [rpc.UNKNOWN, pulumi.UNKNOWN])
@pytest.mark.parametrize("key", ["host", "port", "admin_password", "server", "users", "database", "password"])
def test_what_a_preview_does_not_know_yet_replaces_nothing(provider: DatabaseProvider, key: str, unknown: Any) -> None:
    user = {"name": "app", "role": "app", "password": unknown}
    news = inputs(**({"users": [user]} if key == "password" else {key: unknown}))
    assert provider.check(state(), news).failures == []
    diff = provider.diff("rag", state(), news)
    assert (diff.changes, diff.replaces) == (True, [])


@pytest.mark.parametrize("name", ["postgres", "rag_owner", "rag_reader", "pg_monitor", "", "x" * 64])
def test_a_user_name_that_cannot_be_fails_the_preview(provider: DatabaseProvider, name: str) -> None:
    with pytest.raises(StackError) as caught:
        provider.check({}, inputs(users=[{"name": name, "role": "app", "password": "hidden-one"}]))
    assert "hidden-one" not in str(caught.value)


def test_a_user_declared_twice_fails_the_preview(provider: DatabaseProvider) -> None:
    with pytest.raises(StackError, match="the name app is used twice"):
        provider.check({}, inputs(users=inputs()["users"] * 2))


def test_passwords_do_not_show_in_representations() -> None:
    user = User(name="app", password="hidden-one", role="app")
    assert "hidden-one" not in repr(Layout(database="rag", schema="rag", users=(user,), admin_user="postgres"))


def test_a_verifier_is_told_from_that_of_another_password() -> None:
    assert verifies(VERIFIER, "pencil")
    assert not verifies(VERIFIER, "pencils")


@pytest.mark.parametrize(
    "stored", [None, "", "md5d41d8cd98f00b204e9800998ecf8427e", "SCRAM-SHA-256$x", "SCRAM-SHA-256$1:?$?:?"]
)
def test_what_is_no_verifier_belongs_to_no_password(stored: str | None) -> None:
    assert not verifies(stored, "pencil")


def test_versions_compare_as_numbers() -> None:
    assert version("0.8.10") > version("0.8.2") > version("0.8") > version("")
