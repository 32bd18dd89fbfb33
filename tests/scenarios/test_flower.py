"""What people may look at: Flower, Redis and the logs say what is being done, and never to whom or with which key."""

import base64
import binascii
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
import redis

from campaign.domain.plan import Plan
from campaign.services import campaigns, uploads
from tests.scenarios.kit import TOKEN, Stage, full_environment, phones, stage
from tests.servers import RedisServer, free_port

pytestmark = pytest.mark.slow

PASSWORD = "only-for-this-test"
PERSON = "Canary-Person"
LINE = {"kind": "netsapiens", "calls_per_second": 50.0, "credentials": {"token": "env:CAMPAIGN_SCENARIO_KEY"}}
FAULTS = ["500:0.1", "reset_after:0.1", "garbage:0.05", "429:0.02,retry_after=1s", "invalid_number:0.05"]
"""What goes wrong is what tempts a program to say too much."""

ENCODED = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")


@contextmanager
def listening(port: int) -> Iterator[list[bytes]]:
    """Every command that Redis is sent meanwhile, as MONITOR tells it."""
    heard: list[bytes] = []

    def listen() -> None:
        while block := wire.recv(65_536):
            heard.append(block)

    with socket.create_connection(("127.0.0.1", port)) as wire:
        wire.sendall(b"MONITOR\r\n")
        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield heard
        finally:
            wire.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@contextmanager
def flower(playing: Stage) -> Iterator[str]:
    """The URL of ``celery -A workers flower``, behind a password."""
    port = free_port()
    command = [sys.executable, "-m", "celery", "-A", "workers", "flower", "--address=127.0.0.1", f"--port={port}"]
    environment = {**full_environment(playing), "FLOWER_BASIC_AUTH": f"me:{PASSWORD}"}
    with (playing.folder / "flower.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=playing.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        playing.wait(lambda: look(url + "/healthcheck"))
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def look(url: str) -> str:
    word = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    request = Request(url, headers={"Authorization": f"Basic {word}"})
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
            return str(answer.read().decode(errors="replace"))
    except HTTPError as error:
        error.close()
        return f"{error.code}"
    except OSError:
        return ""


def test_tasks_have_names_and_nobody_learns_numbers_or_keys(
    tmp_path: Path, redis_server: RedisServer, clean_redis_url: str, empty_postgres_url: str
) -> None:
    # Given numbers, people and a key that must stay where they are, and a provider that fails in many ways
    numbers = phones(40, 60)
    file = tmp_path / "list.csv"
    file.write_text("phone,Name\n" + "".join(f"{phone},{PERSON}\n" for phone in [*numbers, "+1 340 555", "nobody"]))
    simulator = {"keys": {"netsapiens": TOKEN}, "faults": FAULTS}
    with ExitStack() as stack:
        playing = stack.enter_context(
            stage(
                tmp_path, database_url=empty_postgres_url, broker_url=clean_redis_url,
                lines={"recall": LINE}, simulator=simulator,
            )
        )  # fmt: skip
        wire = stack.enter_context(listening(redis_server.port))
        url = stack.enter_context(flower(playing))
        playing.worker(2)
        playing.beat()
        # When a file is read and dialled
        made = campaigns.create(playing.store, "recall", "recall", Plan(retry={}, on_unknown="done"), "US")  # type: ignore[arg-type]
        with uploads.open_file(file) as source:
            uploads.receive(playing.store, made.id, source, file.name, uploads.Reading(region="US"))
        campaigns.start(playing.store, "recall")
        playing.wait(lambda: playing.simulator.ledger().placed >= 40 and playing.count("ended") >= 20)
        playing.wait(lambda: {"dial recall", "poll recall"} <= _names(url), 60.0)
        told = {path: look(url + path) for path in ("/", "/tasks", "/broker", "/workers", "/api/workers", "/metrics")}
        tasks = json.loads(look(url + "/api/tasks?limit=10000"))
        told |= {f"/task/{uuid}": look(f"{url}/task/{uuid}") for uuid in list(tasks)[:30]}
        told["tasks"] = json.dumps(tasks)
        told["redis"] = contents(clean_redis_url)
        told["wire"] = b"".join(wire).decode(errors="replace")
        told["logs"] = playing.logs()
    # Then the tasks say what they do, and no tick lies over them
    names = {task["name"] for task in tasks.values()}
    assert {"dial recall", "poll recall", "intake recall"} <= names, names
    assert "tick" not in names
    assert len(told["wire"]) > 10_000, "nothing was overheard: the test shows nothing"
    assert "recall" in decoded(told["wire"]), "no message's body was read: the test shows nothing"
    assert len(told["/tasks"]) > 500
    # And nowhere is there a number, a person or a key
    for where, text in told.items():
        plain = text + decoded(text)
        assert TOKEN not in plain, where
        assert PERSON not in plain, where
        assert not [n for n in numbers if n[2:] in plain], where


def _names(url: str) -> set[str]:
    try:
        return {task["name"] for task in json.loads(look(url + "/api/tasks?limit=10000") or "{}").values()}
    except (ValueError, AttributeError):
        return set()


def decoded(text: str) -> str:
    """What stands in it in base64, as the bodies of messages do."""
    found = []
    for word in set(ENCODED.findall(text)):
        with suppress(binascii.Error, ValueError):
            found.append(base64.b64decode(word + "=" * (-len(word) % 4)).decode(errors="replace"))
    return "\n".join(found)


def contents(url: str) -> str:
    """Everything that Redis holds at this moment."""
    with redis.Redis.from_url(url, decode_responses=True, encoding_errors="replace") as client:
        readers = {
            "string": client.get,
            "list": lambda key: client.lrange(key, 0, -1),
            "set": client.smembers,
            "hash": client.hgetall,
            "zset": lambda key: client.zrange(key, 0, -1),
            "none": lambda _: "has gone since it was listed",
        }
        until = time.monotonic() + 10.0
        said = []
        for key in client.scan_iter():
            assert time.monotonic() < until, "Redis holds more than it should"
            said.append(f"{key} {readers[client.type(key)](key)}")
        return "\n".join(said)
