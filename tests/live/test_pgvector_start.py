"""What PostgreSQL's start script makes of data directories that a crash, an interruption or an upgrade left behind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from docker.models.containers import Container
from docker.models.volumes import Volume

from components.services.images import CONTEXTS
from tests.live.fixtures_containers import PGVECTOR_IMAGE, docker_client, image

DATA = "/var/lib/postgresql/data"
SCRIPT = CONTEXTS / "pgvector" / "start.sh"
PREPARE = "printf first >/tmp/password && export POSTGRES_PASSWORD_FILE=/tmp/password POSTGRES_USER=postgres && "


@pytest.fixture
def volume(stand_ins: None) -> Iterator[Volume]:
    made = docker_client().volumes.create(f"ragstack-test-{uuid.uuid4().hex[:8]}")
    yield made
    made.remove(force=True)


def run_in(volume: Volume, command: str) -> tuple[int, str]:
    """A shell command on the volume, as the stack runs the server: its exit code and everything it said."""
    client = docker_client()
    container: Container = client.containers.create(
        image(client, PGVECTOR_IMAGE),
        ["-c", PREPARE + command],
        entrypoint="/bin/bash",
        user="999:999",
        cap_drop=["ALL"],
        init=True,
        volumes={volume.name: {"bind": DATA, "mode": "rw"}, str(SCRIPT): {"bind": "/start.sh", "mode": "ro"}},
    )
    try:
        container.start()
        code = int(container.wait(timeout=90)["StatusCode"])
        return code, container.logs().decode()
    finally:
        container.remove(force=True)


# The server in the background, until it answers over TCP; then its process id is in $server.
SERVE = "bash /start.sh postgres & server=$!; until pg_isready -q -h 127.0.0.1; do kill -0 $server || exit 9; done; "


def test_a_crash_whose_process_number_is_the_shells_own_does_not_keep_it_down(volume: Volume) -> None:
    code, said = run_in(volume, SERVE + "kill $server; wait $server; true")
    assert code == 0, said
    # A server that was killed leaves its number behind; the next start's shell has that very number, as its own `exec`
    # makes it the server's later.
    crashed = (
        f"printf '%s\\n%s\\n1700000000\\n5432\\n/var/run/postgresql\\n*\\n' $$ {DATA} >{DATA}/postmaster.pid; "
        "(until pg_isready -q -h 127.0.0.1; do kill -0 $$ || exit; done; kill -INT $$) & exec bash /start.sh postgres"
    )
    _, said = run_in(volume, crashed)
    assert "could not be set" not in said, said
    assert "ready to accept connections" in said, said


def test_the_password_of_a_kept_volume_is_the_new_stacks(volume: Volume) -> None:
    code, said = run_in(volume, SERVE + "kill $server; wait $server; true")
    assert code == 0, said
    log_in = "PGPASSWORD={} psql -h $(hostname -i) -U postgres -tAc 'select 41 + 1'"
    code, said = run_in(
        volume,
        "printf second >/tmp/password; " + SERVE + f"{log_in.format('second')}; ! {log_in.format('first')}",
    )
    assert code == 0, said
    assert "42" in said


def test_an_interrupted_first_initialisation_is_refused_and_nothing_is_deleted(volume: Volume) -> None:
    code, said = run_in(volume, f"echo 17 >{DATA}/PG_VERSION; bash /start.sh postgres")
    assert code == 78, said
    assert "its first initialisation was interrupted" in said
    assert "make down VOLUMES=1" in said
    assert run_in(volume, f"cat {DATA}/PG_VERSION") == (0, "17\n")


@pytest.mark.parametrize("path", ["PG_VERSION", "18/docker/PG_VERSION"])
def test_data_of_another_major_version_is_refused_wherever_that_version_keeps_it(volume: Volume, path: str) -> None:
    code, said = run_in(volume, f"mkdir -p {DATA}/18/docker; echo 18 >{DATA}/{path}; bash /start.sh postgres; exit $?")
    assert code == 78, said
    assert "the data volume is of PostgreSQL 18, the image is PostgreSQL 17" in said
    assert "set ragstack:postgres.version to 18" in said


def test_a_statement_that_fails_is_not_taken_for_success(volume: Volume) -> None:
    code, said = run_in(volume, SERVE + "kill $server; wait $server; true")
    assert code == 0, said
    code, said = run_in(volume, "export POSTGRES_USER=nobody; bash /start.sh postgres")
    assert code == 78, said
    assert 'role "nobody" does not exist' in said
    assert "first" not in said.split("could not be set:")[1]
