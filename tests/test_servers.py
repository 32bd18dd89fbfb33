"""The servers that tests start: missing ones are named, killed ones come back, none outlives its test process."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from tests import servers
from tests.servers import RedisServer, ServerMissing

ORPHAN_MAKER = """
import os, signal, sys
from tests.servers import RedisServer
server = RedisServer()
server.start()
print(server.pid, server.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def gone(pid: int) -> bool:
    """Ended, whether or not anybody has collected it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_server_that_is_not_installed_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ServerMissing, match="apt-get install redis-server"):
        RedisServer()
    monkeypatch.setattr(servers, "_postgres_folders", list)
    with pytest.raises(ServerMissing, match="apt-get install postgresql"):
        servers.PostgresServer()


def test_a_killed_server_comes_back_empty_on_its_port(redis_url: str) -> None:
    server = RedisServer()
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            client.set("x", "1")
            server.kill()
            with pytest.raises(redis.ConnectionError):
                client.ping()
            server.start()
            assert client.get("x") is None
    finally:
        server.remove()
    assert not server.folder.exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the Linux kernel")
def test_a_server_dies_with_a_test_process_that_was_killed(redis_url: str) -> None:
    said = subprocess.run([sys.executable, "-c", ORPHAN_MAKER], capture_output=True, text=True, check=False)
    assert said.returncode == -signal.SIGKILL
    pid, folder = said.stdout.split()
    deadline = time.monotonic() + 10
    while not gone(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone(int(pid))
    for path in Path(folder).iterdir():
        path.unlink()
    Path(folder).rmdir()
