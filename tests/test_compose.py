"""docker-compose.yml without an engine: every service's own command is started here, with the file's environment.

What a container changes is put back by name: its folders, its ports, the other services' host names.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
from ruamel.yaml import YAML

from tests.servers import dies_with_us, free_port

FILE = Path("docker-compose.yml")
PROGRAMS = Path(sys.executable).parent
ONE_SHOT = {"migrate"}
HEALTHY_WITHIN = 60.0


def composed() -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe").load(FILE)
    return document


SERVICES: dict[str, dict[str, Any]] = composed()["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]


# What the file says


def test_the_file_is_a_compose_file() -> None:
    check = [str(PROGRAMS / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(FILE)]
    said = subprocess.run(check, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout


def test_the_services_that_were_promised_are_there() -> None:
    assert {"redis", "postgres", "migrate", "worker", "beat", "flower", "api", "sandbox"} == set(SERVICES)
    assert [name for name, service in SERVICES.items() if service.get("profiles")] == ["sandbox"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_as_little_harm_as_possible(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"\d+:\d+", service["user"])
    assert service["user"] != "0:0"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert not service.get("privileged")
    assert re.search(r":\d+\.\d+\.?\d*", service["image"]), "pin the image"


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_listens_to_other_machines(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", sorted(set(SERVICES) - ONE_SHOT))
def test_a_service_says_how_it_is(name: str) -> None:
    assert set(SERVICES[name]["healthcheck"]) >= {"test", "interval", "timeout", "retries", "start_period"}


def test_no_secret_stands_in_the_file_or_in_an_environment() -> None:
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|URL|AUTH|KEY", key):
                assert key.endswith("_FILE") or value.startswith(("file:/run/secrets/", "http://sandbox"))


# What the services do


class House:
    """The services of the file as processes of this machine, each in an empty folder of its own."""

    def __init__(self, folder: Path, postgres: str) -> None:
        self.folder = folder
        self.ports = {port: free_port() for port in ("6379", "5555", "8080", "8777")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        subprocess.run(["deploy/make-secrets", folder / "secrets"], check=True, capture_output=True)
        self._point(folder / "secrets" / "broker_url", r"@redis:6379/0", f"@127.0.0.1:{self.ports['6379']}/0")
        self._point(folder / "secrets" / "database_url", r"://.*", postgres.partition("postgresql+psycopg")[2])
        shutil.copy("deploy/lines.toml", folder / "lines.toml")
        for path in (folder / "secrets").glob("*_*"):
            path.chmod(0o600)  # in a container they are mounted; here a readable secret would earn a warning

    @staticmethod
    def _point(path: Path, what: str, where: str) -> None:
        path.write_text(re.sub(what, where, path.read_text()))

    def here(self, value: Any) -> Any:
        """The same value with this machine's folders, ports and hosts, and ``$$`` as a container sees it."""
        text = json.dumps(value).replace("$$", "$")
        text = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", text)
        text = text.replace("/run/secrets/", f"{self.folder}/secrets/").replace("/etc/campaign/", f"{self.folder}/")
        text = text.replace("//sandbox:", "//127.0.0.1:").replace("/tmp/campaign", f"{self.folder}/home")
        for port, given in self.ports.items():
            text = re.sub(rf"\b{port}\b", str(given), text)
        return json.loads(text.replace("0.0.0.0", "127.0.0.1"))

    def environment(self, name: str) -> dict[str, str]:
        service = SERVICES[name]
        given = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "HOME": str(self.folder), **service.get("environment", {})}
        for file in service.get("env_file", []):
            lines = (self.folder / "secrets" / Path(file).name).read_text().splitlines()
            given |= dict(line.split("=", 1) for line in lines)
        mended: dict[str, str] = self.here(given)
        return mended

    def command(self, name: str) -> list[str]:
        words: list[str] = self.here(SERVICES[name]["command"])
        return words

    def start(self, name: str) -> None:
        self._folder(name).mkdir()
        with self._log(name).open("wb") as log:
            self.processes[name] = subprocess.Popen(
                self.command(name), env=self.environment(name), cwd=self._folder(name), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=dies_with_us(15), start_new_session=True,
            )  # fmt: skip

    def run(self, name: str, *command: str) -> str:
        """A command in the service's place, to its end; what it printed."""
        said = subprocess.run(
            command or self.command(name), env=self.environment(name), cwd=self.folder, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=120, check=False,
        )  # fmt: skip
        assert said.returncode == 0, said.stdout + said.stderr
        return said.stdout

    def wait_until_healthy(self, name: str) -> None:
        """By the file's own health check, as often as it takes."""
        kind, *words = self.here(SERVICES[name]["healthcheck"]["test"])
        command = ["sh", "-c", words[0]] if kind == "CMD-SHELL" else words
        deadline = time.monotonic() + HEALTHY_WITHIN
        while True:
            said = subprocess.run(
                command, env=self.environment(name), cwd=self.folder, capture_output=True, check=False
            )
            if said.returncode == 0:
                return
            assert self.processes[name].poll() is None, f"{name} ended: {self.log(name)}"
            assert time.monotonic() < deadline, f"{name}: {said.stderr.decode()[-500:]} {self.log(name)}"
            time.sleep(0.2)

    def stop(self, name: str) -> int:
        self.processes[name].terminate()
        return self.processes[name].wait(seconds(SERVICES[name].get("stop_grace_period", "10s")))

    def stop_all(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def log(self, name: str) -> str:
        return self._log(name).read_text(errors="replace")[-3000:]

    def left_behind(self, name: str) -> list[str]:
        return [path.name for path in self._folder(name).iterdir()]

    def _folder(self, name: str) -> Path:
        return self.folder / f"place-{name}"

    def _log(self, name: str) -> Path:
        return self.folder / f"log-{name}"


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def in_order() -> list[str]:
    """Each service after what it depends on; postgres is the test's own."""
    left, done = {name for name in SERVICES if name != "postgres"}, ["postgres"]
    while left:
        ready = sorted(name for name in left if set(SERVICES[name].get("depends_on", {})) <= set(done))
        assert ready, f"{left} wait for one another"
        done += ready
        left -= set(ready)
    return done[1:]


@pytest.fixture
def house(tmp_path: Path, empty_postgres_url: str, redis_url: str) -> Iterator[House]:
    """Everything started in the order of depends_on, each service healthy before what needs it."""
    house = House(tmp_path, empty_postgres_url)
    try:
        for name in in_order():
            if name in ONE_SHOT:
                house.run(name)
                continue
            house.start(name)
            if any(service.get("depends_on", {}).get(name) for service in SERVICES.values()):
                house.wait_until_healthy(name)
        yield house
    finally:
        house.stop_all()


@pytest.mark.slow
def test_every_service_starts_with_the_files_own_words(house: House, tmp_path: Path) -> None:
    for name in house.processes:
        house.wait_until_healthy(name)
    the_broker_is_locked(house)
    flower_asks_for_a_password(house)
    a_campaign_is_dialled(house, tmp_path)
    for name in reversed(list(house.processes)):
        assert house.stop(name) == 0, f"{name}: {house.log(name)}"
        assert house.left_behind(name) == [], f"{name} writes into a folder that is read-only in its container"


def the_broker_is_locked(house: House) -> None:
    port = house.ports["6379"]
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with redis.Redis.from_url((house.folder / "secrets" / "broker_url").read_text()) as ours:
        assert ours.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            ours.flushall()


def flower_asks_for_a_password(house: House) -> None:
    url = f"http://127.0.0.1:{house.ports['5555']}/workers"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=10)
    refused.value.close()
    assert refused.value.code == 401
    word = b64encode(house.environment("flower")["FLOWER_BASIC_AUTH"].encode()).decode()
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Basic {word}"})) as page:
        assert page.status == 200


def a_campaign_is_dialled(house: House, tmp_path: Path) -> None:
    """Through every service at once: the command enqueues, beat ticks, the worker dials, the sandbox answers."""
    numbers = tmp_path / "numbers.csv"
    numbers.write_text("phone\n" + "".join(f"+1202555{number:04d}\n" for number in range(100, 110)))
    (tmp_path / "plan.toml").write_text("max_attempts = 1\n[retry]\n")
    command = ["campaign", "run", str(numbers), "--plan", str(tmp_path / "plan.toml"), "--yes", "--json"]
    shown = json.loads(house.run("api", *command))
    assert shown["state"] == "completed"
    assert shown["targets"]["total"] == 10
    assert settled(shown["targets"]) == 10


def settled(targets: Mapping[str, int]) -> int:
    return targets["done"] + targets["skipped"] + targets["held"]
