"""The main job: a messy CSV through every provider's own wire contract, to final states and files that can be used."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from campaign.domain.plan import Plan
from campaign.domain.states import UploadState
from campaign.services import campaigns, uploads
from tests.chaos.forked import ROOT
from tests.scenarios.checks import check, export_rows
from tests.scenarios.kit import TOKEN, Stage, embedded, full_environment, stage
from tests.servers import free_port

pytestmark = pytest.mark.slow

PLAN = Plan(
    max_attempts=3,
    retry={"no_answer": ["1s", "1s"], "busy": ["1s"], "unavailable": ["1s"], "error": ["1s"]},  # type: ignore[dict-item]
    conflict_interval=1.0,
)
KINDS = {
    "sandbox": "sandbox",
    "nexbro": "nexbro",
    "netsapiens": "netsapiens, contact first",
    "knovvu": "knovvu",
    "mobtexting": "mobtexting",
    "pathors": "pathors",
}
PUSHED = {"webhook_secret": "env:CAMPAIGN_SCENARIO_KEY"}
MESSY = ROOT / "examples" / "recall.csv"


def slices(folder: Path, names: list[str]) -> dict[str, Path]:
    """The example cut up, its header on each piece: every line of a provider dials other people."""
    header, *rows = MESSY.read_text().splitlines()
    size = len(rows) // len(names)
    files = {}
    for index, name in enumerate(names):
        files[name] = folder / f"{name}.csv"
        files[name].write_text("\n".join([header, *rows[index * size : (index + 1) * size], ""]))
    return files


@contextmanager
def web_edge(playing: Stage, port: int) -> Iterator[None]:
    """``campaign serve``, which takes what providers push."""
    with (playing.folder / "serve.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "campaign", "serve", "--port", str(port)], env=full_environment(playing),
            cwd=playing.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        playing.wait(lambda: "Listening" in (playing.folder / "serve.log").read_text())
        yield
    finally:
        process.terminate()
        process.wait(15)


def lines() -> dict[str, dict[str, Any]]:
    given: dict[str, dict[str, Any]] = {name: {"kind": kind, "account": name} for name, kind in KINDS.items()}
    given["pathors"]["credentials"] = {"api_key": "env:CAMPAIGN_SCENARIO_KEY", **PUSHED}
    return given


def test_a_messy_file_through_every_provider_on_one_machine(tmp_path: Path) -> None:
    # Given six lines, one of which only pushes its results, doubled and out of order
    port = free_port()
    hook = {"url": f"http://127.0.0.1:{port}/hooks/pathors", "secret": TOKEN}
    faults = ["webhook_twice:0.4,dialect=pathors", "webhook_shuffled:0.4,dialect=pathors"]
    simulator = {"webhooks": {"pathors": hook}, "faults": faults, "keys": {"pathors": TOKEN}, "time_scale": 40}
    with stage(tmp_path, lines=lines(), simulator=simulator) as playing, ExitStack() as stack:
        stack.enter_context(web_edge(playing, port))
        # When a messy file is dialled through each, everything embedded in one process
        for name, file in slices(tmp_path, list(KINDS)).items():
            playing.campaign(file, name, name, PLAN)
        stack.enter_context(embedded(playing))
        for name in KINDS:
            playing.wait_completed(name, 120.0)
        # Then each number rang as often as the plan says, and everybody agrees on how it went
        rung = {name: check(playing, name, name, PLAN) for name in KINDS}
        ledger = playing.simulator.ledger()
        rows = {name: playing.summary(name)["rows"] for name in KINDS}
    assert ledger.double_rings == 0
    assert ledger.repeated_refs == 0
    assert all(count > 20 for count in rung.values()), rung
    assert all(r["accepted"] + r["duplicates"] + r["rejected"] == r["read"] for r in rows.values()), rows
    assert any(r["rejected"] for r in rows.values())
    assert ledger.requests > ledger.numbers, "nothing was retried: the test shows little"


def test_a_messy_file_on_many_processes_with_redis_and_postgresql(
    tmp_path: Path, clean_redis_url: str, empty_postgres_url: str
) -> None:
    # Given three lines, two workers and two beats
    chosen = ["sandbox", "netsapiens", "mobtexting"]
    only = {name: line for name, line in lines().items() if name in chosen}
    with stage(
        tmp_path, database_url=empty_postgres_url, broker_url=clean_redis_url, lines=only, simulator={"time_scale": 40}
    ) as playing:
        playing.worker(2, "one")
        playing.worker(2, "two")
        playing.beat("one-beat")
        playing.beat("two-beats")
        # When files are only handed in, for the intake task to read
        received = {}
        for name, file in slices(tmp_path, chosen).items():
            made = campaigns.create(playing.store, name, name, PLAN, "US")
            with uploads.open_file(file) as source:
                received[name] = uploads.receive(
                    playing.store, made.id, source, file.name, uploads.Reading(region="US")
                )
            campaigns.start(playing.store, name)
        playing.wait(lambda: all(_visible(playing, upload.id) for upload in received.values()))
        for name in chosen:
            playing.wait_completed(name, 120.0)
        # Then it is the same as on one machine
        rung = {name: check(playing, name, name, PLAN) for name in chosen}
        ledger = playing.simulator.ledger()
        rejected = sum(playing.summary(name)["rows"]["rejected"] for name in chosen)
        rows = export_rows(playing, "sandbox")
    assert ledger.double_rings == 0
    assert ledger.repeated_refs == 0
    assert all(count > 40 for count in rung.values()), rung
    assert rejected > 5
    assert {"phone", "Name", "Clinic", "disposition"} <= set(rows[0])


def _visible(playing: Stage, upload_id: int) -> bool:
    progress = uploads.upload_progress(playing.store, upload_id)
    assert progress.bytes_read <= progress.bytes
    return progress.state is UploadState.VISIBLE
