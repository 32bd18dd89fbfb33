import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlalchemy import func, insert, select, update

from campaign.domain import failpoints
from campaign.domain.errors import NotFound, NotPossible, UsageFault
from campaign.domain.states import CampaignState, UploadState
from campaign.services import upload_reading, uploads
from campaign.services.uploads import Limits, Progress, Reading
from campaign.storage.engine import Store
from campaign.storage.schema import campaigns, events, rejects, staged_targets, targets, upload_chunks
from campaign.storage.schema import uploads as upload_rows
from tests.clock import FakeClock

US = Reading(region="US")
FEW = b"""Name,Mobile,Notes
Ann,(415) 555-0100,"two
lines"
Bob,+44 20 7946 0123,
Ann again,+1 415 555 0100,
Eve,911,x
"""


class Killed(BaseException):
    """What a SIGKILL is to the code that it hits: nothing catches it."""


@pytest.fixture
def campaign_id(store: Store) -> int:
    with store.write() as connection:
        values = {"name": "recall", "line": "sandbox", "plan": {}, "created_at": 0.0}
        return int(connection.execute(insert(campaigns).values(values).returning(campaigns.c.id)).scalar_one())


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.disarm_all()


def received(store: Store, campaign_id: int, content: bytes, reading: Reading = US) -> uploads.ReceivedUpload:
    return uploads.receive(store, campaign_id, io.BytesIO(content), "some/where/list.csv", reading)


def taken(store: Store, campaign_id: int, content: bytes, reading: Reading = US) -> Progress:
    return uploads.read_upload(store, received(store, campaign_id, content, reading).id)


def count(store: Store, table: object) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]


def many(rows: int, first: int = 0) -> bytes:
    lines = [f"N{i},+1415{2_000_000 + i},note\n" for i in range(first, first + rows)]
    return ("Name,Mobile,Notes\n" + "".join(lines)).encode()


def dump(store: Store) -> list[tuple[object, ...]]:
    """Everything that an upload leaves behind, without ids and tokens."""
    with store.read() as connection:
        made = connection.execute(select(targets).order_by(targets.c.id)).mappings().all()
        kept = connection.execute(select(rejects).order_by(rejects.c.id)).mappings().all()
        files = connection.execute(select(upload_rows)).mappings().all()
    return [
        *(tuple(row[k] for k in row if k not in ("id", "due_at", "upload_id")) for row in made),
        *(tuple(row[k] for k in row if k not in ("id", "upload_id")) for row in kept),
        *(tuple(row[k] for k in ("state", "rows_read", "accepted", "duplicates", "rejected")) for row in files),
    ]


# --- from file to targets --------------------------------------------------------------------------------------------


def test_a_file_becomes_targets_and_rejects(store: Store, campaign_id: int, clock: FakeClock) -> None:
    upload = received(store, campaign_id, FEW)
    assert (upload.bytes, upload.already) == (len(FEW), False)
    assert uploads.upload_progress(store, upload.id).state is UploadState.RECEIVED
    assert count(store, targets) == 0

    assert uploads.read_next(store) == upload.id

    progress = uploads.upload_progress(store, upload.id)
    assert progress == Progress(
        bytes=len(FEW),
        bytes_read=len(FEW),
        rows_read=4,
        accepted=2,
        duplicates=1,
        rejected=1,
        state=UploadState.VISIBLE,
    )
    with store.read() as connection:
        made = connection.execute(select(targets).order_by(targets.c.id)).mappings().all()
        file = connection.execute(select(upload_rows)).mappings().one()
        told = connection.execute(select(events)).mappings().one()
    assert [(row["phone"], row["phone_as_given"], row["row_no"], row["variables"]) for row in made] == [
        ("+14155550100", "(415) 555-0100", 2, {"Name": "Ann", "Notes": "two\nlines"}),
        ("+442079460123", "+44 20 7946 0123", 4, {"Name": "Bob", "Notes": ""}),
    ]
    assert {(row["state"], row["reason"], row["due_at"], row["upload_id"]) for row in made} == {
        ("waiting", "new", clock.now(), upload.id)
    }
    assert (file["columns"], file["file_name"]) == (["Mobile", "Name", "Notes"], "list.csv")
    assert (told["kind"], told["detail"]["targets"]) == ("upload_visible", 2)
    assert (count(store, staged_targets), count(store, upload_chunks)) == (0, 0)
    assert uploads.read_next(store) is None


def test_progress_is_told_at_each_batch_and_kept_in_the_database(store: Store, campaign_id: int) -> None:
    upload = received(store, campaign_id, many(250))
    told: list[Progress] = []
    kept: list[Progress] = []

    def look(progress: Progress) -> None:
        told.append(progress)
        kept.append(uploads.upload_progress(store, upload.id))

    uploads.read_upload(store, upload.id, batch=100, on_progress=look)
    assert [progress.rows_read for progress in told] == [100, 200, 250, 250]
    assert [progress.state for progress in told] == [UploadState.READING] * 3 + [UploadState.VISIBLE]
    assert told == kept


def test_a_file_of_many_chunks_arrives_whole(store: Store, campaign_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "CHUNK", 1000)
    content, sizes = many(1000), list[int]()
    upload = uploads.receive(store, campaign_id, io.BytesIO(content), "x.csv", US, sizes.append)
    assert count(store, upload_chunks) == -(-len(content) // 1000)
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(content)
    assert uploads.read_upload(store, upload.id).accepted == 1000


def test_numbers_that_the_campaign_has_are_duplicates(store: Store, campaign_id: int) -> None:
    taken(store, campaign_id, many(10))
    progress = taken(store, campaign_id, many(10, first=5))
    assert (progress.rows_read, progress.accepted, progress.duplicates) == (10, 5, 5)
    assert count(store, targets) == 15


def test_the_same_file_twice_adds_nothing(store: Store, campaign_id: int) -> None:
    first = received(store, campaign_id, FEW)
    assert received(store, campaign_id, FEW) == uploads.ReceivedUpload(first.id, first.sha256, len(FEW), already=True)
    uploads.read_next(store)
    before = dump(store)
    assert received(store, campaign_id, FEW).already
    assert uploads.read_next(store) is None
    assert dump(store) == before


def test_the_same_file_read_another_way_replaces_its_rejects(store: Store, campaign_id: int) -> None:
    # Given a file uploaded without a region, so that one number had no country
    first = taken(store, campaign_id, FEW, Reading())
    assert (first.accepted, first.rejected) == (2, 2)
    # When the same file comes with the region
    again = received(store, campaign_id, FEW, US)
    assert not again.already
    second = uploads.read_upload(store, again.id)
    # Then its own targets of before are no duplicates, and the number that had no country is one of Ann's
    assert (second.accepted, second.duplicates, second.rejected) == (2, 1, 1)
    assert (count(store, targets), count(store, rejects)) == (2, 1)


def test_a_completed_campaign_wakes_for_new_numbers_only(store: Store, campaign_id: int) -> None:
    taken(store, campaign_id, many(5))

    def complete() -> None:
        with store.write() as connection:
            connection.execute(update(campaigns).values(state=CampaignState.COMPLETED, started_at=1.0, ended_at=2.0))

    def state() -> tuple[object, ...]:
        with store.read() as connection:
            return tuple(connection.execute(select(campaigns.c.state, campaigns.c.ended_at)).one())

    complete()
    taken(store, campaign_id, many(5) + b"\n")
    assert state() == ("completed", 2.0)
    taken(store, campaign_id, many(6))
    assert state() == ("running", None)


# --- what cannot be uploaded -----------------------------------------------------------------------------------------


def test_a_fault_of_the_whole_file_is_told_before_anything_is_stored(store: Store, campaign_id: int) -> None:
    for content in (b"", b"Name,City\nAnn,Rome\n", b"PK\x03\x04", b"\xff\xfe\x00\xd8"):
        with pytest.raises(UsageFault):
            received(store, campaign_id, content)
    with pytest.raises(UsageFault, match="larger than 100 bytes"):
        received(store, campaign_id, many(10), Reading(limits=Limits(file_bytes=100)))
    assert count(store, upload_rows) == 0


def test_a_campaign_must_exist_and_be_open(store: Store, campaign_id: int) -> None:
    with pytest.raises(NotFound):
        received(store, campaign_id + 1, FEW)
    with pytest.raises(NotFound):
        uploads.upload_progress(store, 99)
    with store.write() as connection:
        connection.execute(update(campaigns).values(state=CampaignState.CANCELED))
    with pytest.raises(NotPossible, match="canceled"):
        received(store, campaign_id, FEW)


def test_a_fault_found_while_reading_ends_as_failed_and_the_file_may_come_again(
    store: Store, campaign_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = received(store, campaign_id, many(30))

    def broken(*_: object) -> Iterator[object]:
        yield from ()
        raise UsageFault("the file cannot be read as klingon; save it as UTF-8")

    with monkeypatch.context() as patched:
        patched.setattr(upload_reading, "read_rows", broken)
        assert uploads.read_next(store) == upload.id
    progress = uploads.upload_progress(store, upload.id)
    assert (progress.state, progress.why) == (
        UploadState.FAILED,
        "the file cannot be read as klingon; save it as UTF-8",
    )
    assert (count(store, upload_chunks), count(store, targets)) == (0, 0)
    assert taken(store, campaign_id, many(30)).accepted == 30


def test_a_file_that_is_never_read_to_its_end_is_given_up(
    store: Store, campaign_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_reading, "READ_AT_MOST", 1)
    progress = taken(store, campaign_id, FEW)
    assert progress.state is UploadState.FAILED
    assert "again and again" in str(progress.why)


class Changing(io.BytesIO):
    """A file to which somebody appends between the first reading and the second."""

    seeks = 0

    def seek(self, position: int, whence: int = 0) -> int:
        self.seeks += 1
        if self.seeks == 4:
            super().seek(0, 2)
            self.write(b"Late,+14155550199,\n")
        return super().seek(position, whence)


def test_a_file_that_changes_while_it_is_uploaded_is_not_taken(store: Store, campaign_id: int) -> None:
    with pytest.raises(UsageFault, match="changed while"):
        uploads.receive(store, campaign_id, Changing(FEW), "x.csv", US)
    assert uploads.read_next(store) is None
    assert count(store, upload_chunks) == 0
    assert taken(store, campaign_id, FEW).accepted == 2


def test_open_file_takes_files_only(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(FEW)
    with uploads.open_file(tmp_path / "list.csv") as source:
        assert uploads.preview(source, US).columns == ["Mobile", "Name", "Notes"]
        assert source.tell() == 0
    for path, sentence in ((tmp_path, "is a directory"), (tmp_path / "none.csv", "No such file")):
        with pytest.raises(UsageFault, match=sentence), uploads.open_file(path):
            pass


# --- interruptions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["intake.after_batch", "intake.before_publish", "intake.after_publish"])
def test_killed_anywhere_and_taken_up_again_the_result_is_the_same(
    store: Store, campaign_id: int, clock: FakeClock, place: str
) -> None:
    content = many(50) + b"Dup,+14152000001,\nEve,911,\n" + many(30, first=50).split(b"\n", 1)[1]
    upload = received(store, campaign_id, content)

    # Given a worker that is killed
    def kill() -> None:
        raise Killed

    failpoints.arm(place, kill)
    with pytest.raises(Killed):
        uploads.read_upload(store, upload.id, batch=20, lease=60)
    failpoints.disarm_all()
    published = place == "intake.after_publish"
    assert count(store, targets) == (80 if published else 0)
    # When the lease still runs, nobody takes it up; after it, the next worker does
    assert uploads.read_next(store) is None
    clock.advance(61)
    assert uploads.read_next(store, batch=20) == (None if published else upload.id)
    # Then all is as if nothing had happened
    progress = uploads.upload_progress(store, upload.id)
    assert (progress.state, progress.rows_read) == (UploadState.VISIBLE, 82)
    assert (progress.accepted, progress.duplicates, progress.rejected) == (80, 1, 1)
    assert (count(store, targets), count(store, rejects), count(store, staged_targets)) == (80, 1, 0)


def test_a_worker_that_slept_past_its_lease_publishes_nothing(store: Store, campaign_id: int, clock: FakeClock) -> None:
    # Given a worker that falls asleep after its first batch, and another one that takes over meanwhile
    upload = received(store, campaign_id, many(50))
    inner: list[int | None] = []

    def sleep(_: Progress) -> None:
        if not inner:
            inner.append(None)
            clock.advance(61)
            inner[0] = uploads.read_next(store, batch=20)

    # When it wakes up and goes on
    uploads.read_upload(store, upload.id, batch=20, on_progress=sleep)
    # Then the other one's work stands, once
    assert inner == [upload.id]
    assert uploads.upload_progress(store, upload.id).accepted == 50
    assert count(store, targets) == 50
    assert count(store, events) == 1


def test_two_workers_at_once_publish_once(store: Store, campaign_id: int) -> None:
    upload = received(store, campaign_id, many(300))
    results: list[int | None] = []
    threads = [threading.Thread(target=lambda: results.append(uploads.read_next(store, batch=50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results, key=str) == [upload.id, None, None, None]
    assert (count(store, targets), count(store, events)) == (300, 1)


def test_a_sender_that_dies_is_followed_by_the_next_and_can_spoil_nothing(
    store: Store, campaign_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "CHUNK", 1000)
    content = many(500)
    result: list[uploads.ReceivedUpload] = []

    # Given a sender that stalls in the middle while the same file is sent once more
    def stall(size: int) -> None:
        if not result:
            result.append(received(store, campaign_id, content))

    with pytest.raises(NotPossible, match="that upload goes on"):
        uploads.receive(store, campaign_id, io.BytesIO(content), "x.csv", US, stall)
    # Then the second one's bytes stand
    assert uploads.read_next(store) == result[0].id
    assert uploads.upload_progress(store, result[0].id).accepted == 500


def test_half_a_file_is_never_read_and_its_row_does_not_stay_open(
    store: Store, campaign_id: int, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "CHUNK", 1000)

    def kill(_: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        uploads.receive(store, campaign_id, io.BytesIO(many(500)), "x.csv", US, kill)
    assert uploads.read_next(store) is None
    clock.advance(61)
    assert uploads.read_next(store) is None
    with store.read() as connection:
        row = connection.execute(select(upload_rows)).mappings().one()
    assert (row["state"], "interrupted" in row["why"]) == ("failed", True)
    assert count(store, upload_chunks) == 0


# --- rejects and dry run ---------------------------------------------------------------------------------------------


def rejected_sheet(store: Store, campaign_id: int) -> tuple[int, str]:
    out = io.StringIO()
    return uploads.write_rejects(store, campaign_id, out), out.getvalue()


def test_rejects_come_back_as_a_sheet_that_can_be_mended(store: Store, campaign_id: int) -> None:
    content = b'Name,Mobile,Notes\n=Ann,+1415555010,"two\nlines"\nBob,"+14155550101,x\nEve,1,2,3\n'
    assert taken(store, campaign_id, content).rejected == 3
    written, sheet = rejected_sheet(store, campaign_id)
    assert written == 3
    assert sheet.startswith("_line,_field,_reason,_remedy,Name,Mobile,Notes\r\n2,Mobile,is too short")
    assert "'=Ann,'+1415555010," in sheet

    mended = sheet.replace("'+1415555010,", "'+14155550100,").encode("utf-8-sig")
    progress = taken(store, campaign_id, mended)
    assert (progress.accepted, progress.rejected) == (2, 1)
    with store.read() as connection:
        ann = connection.execute(select(targets).order_by(targets.c.id)).mappings().first()
    assert ann is not None
    assert (ann["phone"], ann["variables"]) == ("+14155550100", {"Name": "=Ann", "Notes": "two\nlines"})


def test_rejects_of_several_uploads_share_one_sheet(store: Store, campaign_id: int) -> None:
    taken(store, campaign_id, b"Name,Mobile\nAnn,911\n")
    taken(store, campaign_id, b"Phone,City\n112,Rome\n")
    written, sheet = rejected_sheet(store, campaign_id)
    assert written == 2
    assert sheet.splitlines()[0] == "_line,_field,_reason,_remedy,Name,Mobile,City"
    assert sheet.splitlines()[2].endswith(",,112,Rome")


def test_nothing_rejected_writes_nothing(store: Store, campaign_id: int) -> None:
    taken(store, campaign_id, many(3))
    assert rejected_sheet(store, campaign_id) == (0, "")


def test_nul_and_bytes_that_are_no_text_can_be_stored_and_come_back(store: Store, campaign_id: int) -> None:
    content = b"Name,Mobile\n" + b"".join(b"N,+1415555%04d\n" % i for i in range(60)) + b"Zo\xeb,1\nA\x00nn,2\n"
    assert taken(store, campaign_id, content).rejected == 2
    _, sheet = rejected_sheet(store, campaign_id)
    assert "Zo\\xeb,1" in sheet
    assert "A\0nn,2" in sheet


def test_a_dry_run_counts_as_the_upload_would(store: Store, campaign_id: int) -> None:
    told: list[tuple[int, int]] = []
    source: BinaryIO = io.BytesIO(FEW)
    rehearsal = uploads.dry_run(source, US, lambda size, rows: told.append((size, rows)))
    progress = taken(store, campaign_id, FEW)
    assert (rehearsal.rows_read, rehearsal.accepted, rehearsal.duplicates, rehearsal.rejected) == (
        progress.rows_read,
        progress.accepted,
        progress.duplicates,
        progress.rejected,
    )
    assert [row.line_no for row in rehearsal.first_rejects] == [6]
    assert told == [(len(FEW), 4)]
