"""Erasing at any moment, in any order with uploads, calls, results late and twice, settling and retry batches.

The judge at the end is a dump of every table: not one row may tell of an erased person, and all that is a figure is as
it would have been.
"""

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import create_engine, event, select

from campaign.domain.calls import Finding, FindingKind
from campaign.domain.dispositions import Disposition
from campaign.domain.erasure import ERASED, is_erased
from campaign.domain.states import LIVE_ATTEMPT_STATES
from campaign.domain.verdicts import not_sent, placed, unconfirmed
from campaign.policies.events import Answered, Looked
from campaign.services import campaigns, do_not_call, erasing, retry_batches, settle_by_person, uploads
from campaign.services.claiming import ClaimedCall
from campaign.services.sweeping import sweep
from campaign.storage.engine import open_store
from campaign.storage.schema import attempts, metadata, targets
from campaign.storage.schema import uploads as upload_rows
from tests.clock import FakeClock
from tests.engine import LINE
from tests.services.dump import lines_with, spellings
from tests.services.erasing_world import (
    KEY,
    RULES,
    claimed,
    confirmed,
    deliver,
    ended,
    received,
    send_file,
    told,
    uploaded,
)
from tests.services.rows import running

pytestmark = pytest.mark.slow

PEOPLE = range(3)
NAMES = ("recall", "other")
ENDS = (Disposition.NO_ANSWER, Disposition.ANSWERED, Disposition.BUSY, Disposition.UNKNOWN)

people = st.sampled_from(PEOPLE)
names = st.sampled_from(NAMES)


def phone(person: int) -> str:
    return f"+141555501{person}{person}"


PERSON_OF = {phone(person): person for person in PEOPLE}


def name(person: int) -> str:
    return f"Secret Person {'abcd'[person]}"


@cache
def template() -> Path:
    path = Path(tempfile.mkdtemp(prefix="erasing-")) / "template.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()
    return path


def _without_waiting_for_the_disk(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


class AnyTime(RuleBasedStateMachine):
    """Two campaigns, four people, one line; the clock goes on by rule."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="erasing-")
        copy = shutil.copy(template(), Path(self.folder.name) / "campaign.sqlite")
        self.clock = FakeClock()
        self.store = open_store(f"sqlite:///{copy}", self.clock)
        event.listen(self.store.engine, "connect", _without_waiting_for_the_disk)
        self.store.engine.dispose()
        self.files = 0
        self.hands: list[ClaimedCall] = []
        self.sent: list[ClaimedCall] = []
        self.erased: set[int] = set()
        self.figures: dict[int, Any] = {}

    @initialize()
    def begin(self) -> None:
        for one in NAMES:
            running(self.store, one, line=LINE.name, retry={"no_answer": [60.0], "busy": [60.0]}, on_unknown="hold")

    def teardown(self) -> None:
        try:
            self._to_the_end()
        finally:
            self.store.close()
            self.folder.cleanup()

    # --- what people do

    @rule(person=people, friend=people, where=names, read=st.booleans(), broken=st.booleans())
    def upload(self, person: int, friend: int, where: str, read: bool, broken: bool) -> None:
        content = self._file(person, friend, broken)
        uploaded(self.store, where, content) if read else send_file(self.store, where, content)

    @rule(person=people, where=names)
    def erase_while_a_file_is_read(self, person: int, where: str) -> None:
        upload_id = send_file(self.store, where, self._file(person, person, broken=True))

        def after_a_row(_progress: object) -> None:
            if person not in self.erased:
                self.erase({person}, only_ask=False)

        uploads.read_upload(self.store, upload_id, batch=1, on_progress=after_a_row, key=KEY)

    def _file(self, person: int, friend: int, broken: bool) -> str:
        self.files += 1
        area, exchange, last = phone(person)[2:5], phone(person)[5:8], phone(person)[8:]
        rows = [f"({area}) {exchange}-{last},{name(person)},{self.files}"]
        # Somebody else's row may name a number as well; one that comes after the erasure is not looked through.
        known = f"{phone(friend)} too" if friend not in self.erased else ""
        rows.append(f"+1415555020{self.files % 10},Somebody,{known}")
        if broken:
            rows.append(f"1 {area} {exchange} {last},{name(person)},x,one cell too many")
        return "phone,name,note\n" + "\n".join(rows) + "\n"

    @rule()
    def read_uploads(self) -> None:
        while uploads.read_next(self.store, key=KEY) is not None:
            pass

    @rule(some=st.sets(people, min_size=1, max_size=2), only_ask=st.booleans())
    def erase(self, some: set[int], only_ask: bool) -> None:
        phones = [phone(person) for person in sorted(some)]
        (erasing.ask if only_ask else erasing.erase)(self.store, KEY, phones)
        self.erased |= some

    @rule(person=people)
    def put_on_the_list(self, person: int) -> None:
        do_not_call.add(self.store, [phone(person)], "asked", KEY)

    @rule(person=people)
    def take_off_the_list(self, person: int) -> None:
        do_not_call.remove(self.store, [phone(person)])

    @rule(where=names, decision=st.sampled_from(["answered", "not_placed", "unknown"]))
    def settle(self, where: str, decision: str) -> None:
        settle_by_person.settle(self.store, where, decision, unconfirmed=decision == "answered")

    @rule(where=names)
    def retry(self, where: str) -> None:
        retry_batches.plan_batch(self.store, where, ["no_answer", "busy", "unknown"])

    # --- what workers do

    @rule()
    def claim(self) -> None:
        calls = claimed(self.store)
        assert not self._erased_among(calls)
        self.hands += calls

    @rule()
    def confirm(self) -> None:
        going = confirmed(self.store, self.hands)
        assert not self._erased_among(going), "dialled after the erasure"
        self.sent += going
        self.hands = []

    @precondition(lambda self: self.hands)
    @rule()
    def erase_what_is_in_hand(self) -> None:
        self.erase({PERSON_OF[c.call.phone] for c in self.hands if c.call.phone in PERSON_OF}, only_ask=True)
        self.confirm()

    def _erased_among(self, calls: list[ClaimedCall]) -> set[str]:
        return {call.call.phone for call in calls} & {phone(person) for person in self.erased}

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 50), how=st.sampled_from(["placed", "lost", "not sent", "refused"]))
    def answer(self, which: int, how: str) -> None:
        call = self.sent[which % len(self.sent)]
        verdicts = {
            "placed": placed(f"call-{call.attempt_id}"),
            "lost": unconfirmed("lost"),
            "not sent": not_sent("no"),
        }
        verdict = verdicts.get(how, unconfirmed(f"said {call.call.phone}"))
        told(self.store, call.attempt_id, Answered(call.token, verdict))

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 50), end=st.sampled_from(ENDS), twice=st.booleans())
    def result(self, which: int, end: Disposition, twice: bool) -> None:
        call = self.sent[which % len(self.sent)]
        for _ in range(1 + twice):
            told(self.store, call.attempt_id, ended(end, call_id=f"call-{call.attempt_id}"))

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 50), end=st.sampled_from(ENDS), handled=st.booleans())
    def push(self, which: int, end: Disposition, handled: bool) -> None:
        call = self.sent[which % len(self.sent)]
        said = {"id": f"call-{call.attempt_id}", "end": end, "to": call.call.phone, "by": f"{self.clock.now()}"}
        (deliver if handled else received)(self.store, said)

    @rule(person=people)
    def push_nobodys(self, person: int) -> None:
        received(self.store, {"end": "busy", "to": phone(person), "by": f"{self.clock.now()}"})

    @precondition(lambda self: self.erased & {PERSON_OF.get(call.call.phone) for call in self.sent})
    @rule(end=st.sampled_from(ENDS), numbered=st.booleans(), handled=st.booleans())
    def push_about_the_erased(self, end: Disposition, numbered: bool, handled: bool) -> None:
        """Of their calls, by the provider's id, and what a person would say. Where nobody has told us that id, with the
        number: a delivery that names neither cannot be told from a stranger's."""
        rows = self._attempts()
        for call in self.sent:
            person = PERSON_OF.get(call.call.phone)
            if person is not None and person in self.erased:
                said = {"id": f"call-{call.attempt_id}", "end": end, "by": f"{self.clock.now()}", "said": name(person)}
                said |= {"to": call.call.phone} if numbered or rows[call.attempt_id]["call_id"] is None else {}
                (deliver if handled else received)(self.store, said)

    @precondition(lambda self: self.erased)
    @rule()
    def push_nobodys_about_the_erased(self) -> None:
        for person in self.erased:
            self.push_nobodys(person)

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 50), kind=st.sampled_from([FindingKind.FOUND, FindingKind.ABSENT]))
    def look(self, which: int, kind: FindingKind) -> None:
        call = self.sent[which % len(self.sent)]
        row = self._attempts()[call.attempt_id]
        told(self.store, call.attempt_id, Looked(row["token"], Finding(kind, self.clock.now(), f"call-{row['id']}")))

    @rule(seconds=st.sampled_from([1.0, 20.0, 120.0, 4000.0]))
    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        sweep(self.store, RULES)
        retry_batches.fire_due(self.store)
        erasing.work_off(self.store, steps=3)

    @rule()
    def read_inbox(self) -> None:
        deliver(self.store)

    # --- what must be true

    @invariant()
    def open_calls_keep_their_numbers(self) -> None:
        for row in self._attempts().values():
            if row["state"] in LIVE_ATTEMPT_STATES:
                assert not is_erased(row["phone"])

    @invariant()
    def ends_stay_what_they_were(self) -> None:
        """Only the truth may replace `unknown`, or a doubt that was taken for nothing; an erasure replaces nothing."""
        for row in self._attempts().values():
            figures = (row["disposition"], row["counted"], row["sent_at"], row["line"], row["call_id"])
            before = self.figures.get(row["id"])
            if row["state"] == "ended" and row["disposition"] != "unknown":
                assert before is None or before == figures
                self.figures[row["id"]] = figures

    def _attempts(self) -> dict[int, Any]:
        with self.store.read() as connection:
            return {row["id"]: row for row in connection.execute(select(attempts)).mappings()}

    # --- the end

    def _to_the_end(self) -> None:
        """Everything comes to its end: files are read, calls end, deliveries are given up; the workers do the rest."""
        self.read_uploads()
        for _ in range(14):
            self.clock.advance(1000.0)
            sweep(self.store, RULES)
            for row in self._attempts().values():
                if row["state"] in LIVE_ATTEMPT_STATES:
                    told(self.store, row["id"], ended())
            self.read_inbox()
            erasing.work_off(self.store)
        assert erasing.standing(self.store, KEY).waiting == 0
        self._judge()

    def _judge(self) -> None:
        for person in PEOPLE:
            words = (*spellings(phone(person)), name(person))
            if person in self.erased:
                assert lines_with(self.store, *words) == []
        with self.store.read() as connection:
            rows = connection.execute(select(targets)).mappings().all()
            rejected = connection.execute(select(upload_rows)).mappings().all()
        assert {row["state"] for row in rows if row["reason"] == ERASED} <= {"skipped"}
        assert {row["phone"][:71] for row in rows if is_erased(row["phone"])} <= {
            KEY.digest(phone(p)) for p in self.erased
        }
        for row in rejected:
            assert row["rows_read"] == row["accepted"] + row["duplicates"] + row["rejected"]
        for one in NAMES:
            campaigns.get(self.store, one)


TestAnyTime = AnyTime.TestCase
TestAnyTime.settings = settings(
    max_examples=15, stateful_step_count=40, deadline=None, suppress_health_check=[*HealthCheck]
)
