"""Reaching a machine's loopback by real ssh to a real sshd: one shared connection, forwards, and honest failures."""

from __future__ import annotations

import getpass
import http.server
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from components import reach
from components.reach import SshTarget, UnreachableError, forwarded, forwarded_url, open_shared, run

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshTarget]:
    """An sshd on a free port, for the user at hand alone."""
    if not Path(SSHD).exists():
        subprocess.run(["apt-get", "install", "-y", "-q", "openssh-server"], check=False, stdout=subprocess.DEVNULL)
    if not Path(SSHD).exists():
        pytest.skip("sshd is neither installed nor installable")
    folder = tmp_path_factory.mktemp("sshd")
    # sshd insists on its own empty folder (sshd(8), FILES).
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = free_port()
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "StrictModes": "no",
        "PidFile": "none",
        "UsePAM": "no",
    }
    (folder / "config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    daemon = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
    wait_for(port)
    options = (
        *("-p", str(port), "-i", str(folder / "user"), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"),
        *("-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={folder / 'known'}"),
    )
    target = SshTarget(destination=f"{getpass.getuser()}@127.0.0.1", options=options)
    yield target
    reach._control(target, "exit")
    daemon.terminate()
    daemon.wait()


@pytest.fixture
def website() -> Iterator[int]:
    """The port of an HTTP server that stands for one on the machine's loopback."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield int(web.server_address[1])
        web.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on {port}")


def test_a_command_gives_its_streams_and_its_exit_code(server: SshTarget) -> None:
    done = run(server, "cat; echo lost >&2; exit 3", timeout_s=20, stdin="hello")
    assert (done.returncode, done.stdout, done.stderr) == (3, "hello", "lost\n")


def test_two_commands_share_one_connection(server: SshTarget) -> None:
    first = run(server, "echo $SSH_CONNECTION", timeout_s=20).stdout
    assert first.strip()
    assert run(server, "echo $SSH_CONNECTION", timeout_s=20).stdout == first


def test_a_forward_reaches_the_loopback_and_ends_with_its_block(server: SshTarget, website: int) -> None:
    with forwarded(server.as_input(), "127.0.0.1", website) as (host, port):
        assert (host, port != website) == ("127.0.0.1", True)
        assert requests.get(f"http://{host}:{port}/", timeout=10).status_code == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/", timeout=10)


def test_a_forwarded_url_keeps_all_but_its_address(server: SshTarget, website: int) -> None:
    with forwarded_url(server.as_input(), f"http://127.0.0.1:{website}/path?q=1") as url:
        assert url.endswith("/path?q=1")
        assert f":{website}" not in url


def test_the_machine_at_hand_needs_no_forward() -> None:
    with forwarded(None, "127.0.0.1", 5432) as address:
        assert address == ("127.0.0.1", 5432)
    with forwarded_url(None, "http://127.0.0.1:11434") as url:
        assert url == "http://127.0.0.1:11434"


def test_a_machine_that_is_down_is_named_with_what_ssh_said() -> None:
    down = SshTarget(destination="nobody@127.0.0.1", options=("-p", str(free_port()), "-o", "BatchMode=yes"))
    with pytest.raises(UnreachableError, match=r"nobody@127\.0\.0\.1 cannot be reached by SSH: .*Connection refused"):
        open_shared(down)


def test_a_wrong_key_is_told_apart_from_a_machine_that_is_down(server: SshTarget, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    options = [str(tmp_path / "other") if word.endswith("/user") else word for word in server.options]
    stranger = SshTarget(destination="nobody@127.0.0.1", options=tuple(options))
    with pytest.raises(UnreachableError, match="Permission denied"):
        open_shared(stranger)


def test_a_command_that_hangs_is_given_up(server: SshTarget) -> None:
    with pytest.raises(UnreachableError, match="did not answer within 1 s"):
        run(server, "sleep 30", timeout_s=1)
    assert run(server, "echo back", timeout_s=20).stdout == "back\n"
