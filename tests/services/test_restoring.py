"""A database that forgets, seen from inside: who notices, who is locked out, what must be looked for."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from campaign.domain.calls import CallReport, Finding, FindingKind, RememberedCall, ReportStatus
from campaign.domain.dispositions import Disposition
from campaign.domain.errors import NotPossible, OutOfReach
from campaign.domain.plan import Plan
from campaign.domain.restores import Witness
from campaign.domain.states import AttemptState, TargetState
from campaign.policies.looking import LookRules
from campaign.providers.port import Capabilities
from campaign.services import reconciling, restoring
from campaign.services.claiming import Wish, claim, confirm
from campaign.services.dialing import Dialer
from campaign.services.restoring import Memory, Place, review
from campaign.services.results import summary
from campaign.services.settle_by_person import settle as decide
from campaign.services.settling import Settler
from campaign.services.sweeping import sweep
from campaign.services.why import why
from campaign.storage.engine import Store, open_store
from campaign.storage.migrate import ensure_schema
from campaign.storage.schema import attempts, dispatch, events, targets
from tests.clock import FakeClock
from tests.engine import LINE, ScriptedProvider, add_campaign, dial_once, numbers, outside
from tests.services.rows import journal
from workers.witnesses import SideFile

A, B, C = numbers(3)
MINE = "a" * 32
RULES = {"one": LookRules(list_lag=5.0, looks_after=30.0)}
PLAN = Plan(retry={Disposition.BUSY: (60.0,)})


class Listing(ScriptedProvider):
    """A provider that can be asked by number; ``calls`` are what it would find, by number, the first call first."""

    capabilities = Capabilities(poll=True, find_by_number=True, list_lag=5.0)

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, list[CallReport]] = {}
        self.asked: list[RememberedCall] = []

    async def find(self, call: RememberedCall, canary: RememberedCall | None) -> Finding:
        self.asked.append(call)
        for each in self.calls.get(call.phone, ()):
            if each.call_id not in call.others:
                return Finding(FindingKind.FOUND, 1e12, each.call_id, each)
        return Finding(FindingKind.ABSENT, 1e12)


def busy(call_id: str) -> CallReport:
    return CallReport(ReportStatus.FINAL, call_id=call_id, disposition=Disposition.BUSY)


def memory_of(store: Store, *places: Place) -> Memory:
    """Of a process that has just begun."""
    memory = Memory(places)
    review(store, memory, MINE)
    return memory


def dial(store: Store, memory: Memory, provider: ScriptedProvider | None = None) -> list[str]:
    """Who was rung."""
    provider = provider or ScriptedProvider()
    before = len(provider.rung)
    asyncio.run(dial_once(Dialer(LINE, provider, outside(store, memory=memory))))
    return [phone for _, phone in provider.rung[before:]]


def committed(store: Store, memory: Memory) -> None:
    """All that is due is committed `sending` by this process, without the pace of a line."""
    refs = iter(f"{i:032x}" for i in range(1, 100))
    found = claim(store, LINE, Wish(10), lambda: next(refs), None, memory)
    assert confirm(store, LINE, found.calls, 60.0, RULES, None, memory)


def forget(store: Store) -> None:
    """The tail is lost: no attempt was ever made."""
    with store.write() as connection:
        waiting = {"state": TargetState.WAITING, "due_at": 0.0, "attempt_id": None, "attempts": 0}
        connection.execute(update(targets).values(waiting))
        connection.execute(delete(attempts))


def settle(store: Store, provider: Any, clock: FakeClock) -> None:
    """Look until an absence has been proved, or a call found."""

    async def run() -> None:
        side = outside(store, RULES)
        await Settler(LINE, provider, side).run(1.0)
        await side.recorder.drained()

    for _ in range(3):
        clock.advance(400.0)
        asyncio.run(run())


def one(store: Store, phone: str) -> dict[str, object]:
    with store.read() as connection:
        return dict(connection.execute(select(targets).where(targets.c.phone == phone)).mappings().one())


def open_again(store: Store) -> None:
    reconciling.reconcile(store, MINE)
    reconciling.raise_doubts(store, RULES)
    assert restoring.locked(store) is None


# --- who notices


def test_a_first_start_finds_nothing_and_names_the_database_for_good(store: Store) -> None:
    add_campaign(store, [A])
    memory_of(store)
    with store.read() as connection:
        assert connection.execute(select(dispatch.c.database_id)).scalar_one() == MINE
    # Another process would have called it something else
    review(store, Memory(), "e" * 32)
    with store.read() as connection:
        assert connection.execute(select(dispatch.c.database_id)).scalar_one() == MINE
    assert restoring.locked(store) is None


def test_a_process_that_remembers_more_than_the_database_does_not_claim_and_tells_all_others(store: Store) -> None:
    # Given a process that has sent a call, and one that has not
    add_campaign(store, [A])
    memory, fresh = memory_of(store), memory_of(store)
    committed(store, memory)
    # When the database forgets it
    forget(store)
    # Then the first claims nothing, and from then on neither does the other
    assert claim(store, LINE, Wish(10), lambda: "9" * 32, None, memory).calls == ()
    assert dial(store, fresh) == []
    assert journal(store) == ["dispatch_locked"]
    # And everybody who asks is told why, and what to do
    told = restoring.locked(store)
    assert told is not None
    assert "older backup" in told
    assert "`campaign db reconcile`" in told
    assert why(store, "recall")[0] == told == summary(store, "recall")["why"]


def test_what_was_claimed_before_the_database_forgot_is_not_sent_after(store: Store) -> None:
    # Given a process that holds a claim, and has sent another call since the backup
    add_campaign(store, [A])
    memory = memory_of(store)
    held = claim(store, LINE, Wish(10), lambda: "1" * 32, None, memory).calls
    with store.read() as connection:
        standing = connection.execute(select(dispatch.c.reconciled_at)).scalar_one()
    memory.seen = Witness(MINE, standing, "2" * 32, 5.0)
    # When it asks to send what it holds, Then it may not, and the number waits
    assert confirm(store, LINE, held, 60.0, RULES, None, memory) == []
    assert one(store, A)["state"] == TargetState.WAITING
    assert restoring.locked(store) is not None


def test_an_id_that_the_database_gave_away_again_is_not_taken_for_ones_own(store: Store) -> None:
    # Given a claim that a database has forgotten, and another process's claim under the same id
    add_campaign(store, [A, B])
    held = claim(store, LINE, Wish(1), lambda: "1" * 32).calls
    with store.write() as connection:
        connection.execute(update(attempts).values(our_ref="2" * 32))
    # Then the first is not sent under the other's name
    assert confirm(store, LINE, held, 60.0, RULES) == []
    with store.read() as connection:
        assert connection.execute(select(attempts.c.state)).scalar_one() == AttemptState.CLAIMED


def test_a_claim_that_was_never_sent_proves_nothing(store: Store) -> None:
    # Given an attempt that is known as claimed only: its `sending` is what was lost
    add_campaign(store, [A])
    memory = memory_of(store)
    claim(store, LINE, Wish(10), lambda: "1" * 32, None, memory)
    memory.seen = Witness(MINE, 0.0, "1" * 32, 5.0)
    assert claim(store, LINE, Wish(10), lambda: "2" * 32, None, memory).calls == ()
    assert restoring.locked(store) is not None


# --- what all processes share


class _Board:
    """What all processes are told, as in Redis."""

    def __init__(self) -> None:
        self.told: list[Witness] = []
        self.gone = False

    def read(self, database_id: str) -> list[Witness]:
        self._reach()
        return self.told

    def write(self, witness: Witness) -> None:
        self._reach()
        self.told = [witness, *self.told]

    def set_aside(self, database_id: str) -> None:
        self.told = []

    def _reach(self) -> None:
        if self.gone:
            raise OutOfReach("Redis is gone")


def sharing(store: Store, board: _Board) -> Memory:
    memory = Memory((board,), board)
    review(store, memory, MINE)
    return memory


def test_a_process_that_has_not_dialled_since_the_backup_learns_of_the_others_calls_before_it_claims(
    store: Store,
) -> None:
    # Given two processes, of which one has dialled since the last review of both
    add_campaign(store, [A])
    board = _Board()
    busy_one, idle_one = sharing(store, board), sharing(store, board)
    committed(store, busy_one)
    # When the database forgets it, and the other is the first to ask
    forget(store)
    # Then it does not ring
    assert dial(store, idle_one) == []
    assert restoring.locked(store) is not None


def test_of_two_commits_at_once_the_earlier_may_be_the_one_that_is_lost(store: Store) -> None:
    # Given two processes' calls, and a database that kept the one that was told last
    add_campaign(store, [A])
    board = _Board()
    kept = sharing(store, board)
    committed(store, kept)
    board.told.append(Witness(MINE, 0.0, "9" * 32, 1.0))
    # Then the first who would dial on locks it
    add_campaign(store, [B], name="second")
    assert dial(store, kept) == []
    assert restoring.locked(store) is not None


def test_what_cannot_be_told_to_the_others_does_not_leave(store: Store) -> None:
    # Given a claim
    add_campaign(store, [A])
    board = _Board()
    memory = sharing(store, board)
    provider = ScriptedProvider()
    held = claim(store, LINE, Wish(10), lambda: "1" * 32, None, memory).calls
    # When Redis is gone, Then its `sending` is not said to be safe to act upon
    board.gone = True
    with pytest.raises(OutOfReach):
        confirm(store, LINE, held, 60.0, RULES, None, memory)
    # And nobody claims, and nothing rings, until it is back
    add_campaign(store, [B], name="second")
    assert dial(store, memory, provider) == []
    board.gone = False
    assert dial(store, memory, provider) == [B]


def test_witnesses_from_before_a_restore_that_was_dealt_with_hold_nobody_up(store: Store) -> None:
    add_campaign(store, [A], plan=PLAN)
    board = _Board()
    memory = sharing(store, board)
    committed(store, memory)
    forget(store)
    assert dial(store, memory) == []
    open_again(store)
    # Then what was remembered of the lost stretch is still on the board, and a new number is dialled
    add_campaign(store, [B], name="second")
    assert board.told
    assert dial(store, memory) == [B]


def test_a_dealing_that_ends_between_a_look_and_its_lock_is_not_undone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a process that remembers a call, a database that has forgotten it, and a person who has asked for it
    add_campaign(store, [A])
    memory = memory_of(store)
    committed(store, memory)
    forget(store)
    review(store, memory, MINE)
    reconciling.reconcile(store, MINE)
    # When the ticks open dispatch just after the process has looked once more
    lock = restoring._lock_now

    def late(*judged: Any) -> None:
        reconciling.raise_doubts(store, RULES)
        lock(*judged)

    monkeypatch.setattr(restoring, "_lock_now", late)
    review(store, memory, MINE)
    # Then it is not locked again for what has been dealt with
    assert restoring.locked(store) is None
    assert journal(store).count("dispatch_locked") == 1


# --- the side file


def test_the_side_file_carries_the_memory_over_a_restart(store: Store, tmp_path: Path) -> None:
    # Given a process that sent a call, told the file of it, and died
    add_campaign(store, [A])
    home = SideFile(tmp_path / "not there yet")
    memory = memory_of(store, home)
    committed(store, memory)
    review(store, memory, MINE)
    assert home.read(MINE) == [memory.seen]
    # When one starts on the same database, all is well
    assert memory_of(store, home).seen == memory.seen
    assert restoring.locked(store) is None
    # When one starts on an older one, it is locked, and the file still says what it said
    forget(store)
    memory_of(store, home)
    assert restoring.locked(store) is not None
    assert home.read(MINE) == [memory.seen]


@pytest.mark.parametrize("junk", [b"", b"\xff\x00", b"[]", b'{"database_id": "x"}', b'{"our_ref": null}'])
def test_a_side_file_that_cannot_be_read_locks_once_and_is_set_aside(store: Store, tmp_path: Path, junk: bytes) -> None:
    add_campaign(store, [A])
    memory_of(store)
    file = tmp_path / f"witness-{MINE}.json"
    file.write_bytes(junk)
    # When a process starts, Then it does not dial, and the file is named
    memory = memory_of(store, SideFile(tmp_path))
    assert dial(store, memory) == []
    assert str(file) in str(restoring.locked(store))
    # When a person has asked and all is opened, the next start is not locked by it again
    open_again(store)
    memory_of(store, SideFile(tmp_path))
    assert restoring.locked(store) is None


def test_a_new_database_under_an_old_home_is_no_restore(store: Store, tmp_path: Path) -> None:
    # Given a home with what another database's process was sure of
    home = SideFile(tmp_path)
    add_campaign(store, [A])
    memory = memory_of(store, home)
    committed(store, memory)
    review(store, memory, MINE)
    # When a new, empty database stands under it
    other = open_store(f"sqlite:///{tmp_path / 'new.sqlite'}", store.clock)
    try:
        ensure_schema(other)
        for known in (Memory((home,)), Memory((home,), seen=memory.seen)):  # a new process, and one that ran through it
            review(other, known, "b" * 32)
            assert restoring.locked(other) is None
    finally:
        other.close()
    # And the old one, put back as it was, is still known
    memory_of(store, home)
    assert restoring.locked(store) is None


def test_a_home_that_cannot_be_written_to_is_told_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    add_campaign(store, [A])
    memory = memory_of(store)
    memory.places = (_NotWritable(),)
    committed(store, memory)
    review(store, memory, MINE)
    review(store, memory, MINE)
    assert sum("may not be noticed" in record.message for record in caplog.records) == 1


class _NotWritable:
    def read(self, database_id: str) -> list[Witness]:
        return []

    def write(self, witness: Witness) -> None:
        raise OutOfReach("the disk is full")

    def set_aside(self, database_id: str) -> None:
        pass


# --- looking for what was lost


def test_numbers_are_rung_again_only_where_the_provider_shows_no_lost_call(store: Store, clock: FakeClock) -> None:
    # Given that three numbers were called, A once, B twice, C not, and the database has forgotten all of it
    add_campaign(store, [A, B, C], plan=PLAN)
    memory = memory_of(store)
    committed(store, memory)
    forget(store)
    provider = Listing()
    provider.calls = {
        A: [CallReport(ReportStatus.FINAL, call_id="a1", disposition=Disposition.ANSWERED)],
        B: [busy("b1"), busy("b2")],
    }
    assert dial(store, memory, provider) == []
    # When a person asks, Then all three are looked for before any is rung
    open_again(store)
    assert dial(store, memory, provider) == []
    settle(store, provider, clock)
    # A has its result; C was proved not called; B's first call was found, which is no proof that it was the only one
    assert one(store, A)["disposition"] == Disposition.ANSWERED
    assert one(store, C)["state"] == TargetState.WAITING
    assert one(store, B)["attempts"] == 1
    reconciling.raise_doubts(store, RULES)
    assert dial(store, memory, provider) == [C]
    # And the second is found too, so B has had all that the plan gives it
    settle(store, provider, clock)
    reconciling.raise_doubts(store, RULES)
    assert dial(store, memory, provider) == []
    assert (one(store, B)["state"], one(store, B)["attempts"]) == (TargetState.DONE, 2)
    # Every look asked by number, since the backup, for whatever call is no attempt's
    assert all(call.lost_until is not None and call.sent_at <= call.lost_until for call in provider.asked)


def test_where_calls_cannot_be_found_by_number_their_numbers_are_held_for_a_person(
    store: Store, clock: FakeClock
) -> None:
    # Given a provider that knows calls only by a reference, which is lost
    rules = {"one": LookRules(can_find_by_number=False)}
    add_campaign(store, [A])
    memory = memory_of(store)
    committed(store, memory)
    forget(store)
    dial(store, memory)
    reconciling.reconcile(store, MINE)
    reconciling.raise_doubts(store, rules)
    # When the time has passed in which the call may be going on
    clock.advance(10_000.0)
    sweep(store, rules)
    # Then a person decides, and is asked once
    assert one(store, A)["state"] == TargetState.HELD
    decide(store, "recall", "retry")
    reconciling.raise_doubts(store, rules)
    assert dial(store, memory) == [A]


def test_what_ends_after_the_restore_is_looked_for_before_its_retry(store: Store, clock: FakeClock) -> None:
    # Given a call that was out when the backup was made, and the retry after it that the backup does not know
    add_campaign(store, [A], plan=PLAN)
    memory = memory_of(store)
    committed(store, memory)
    reconciling.reconcile(store, MINE, since=clock.now() - 10.0)
    # When its own end is learnt
    with store.write() as connection:
        row = connection.execute(select(attempts)).mappings().one()
        connection.execute(
            update(attempts).values(state=AttemptState.ENDED, disposition=Disposition.BUSY, ended_at=clock.now())
        )
        connection.execute(update(targets).values(state=TargetState.WAITING, due_at=clock.now(), attempt_id=None))
    # Then it is not rung before the provider was asked for another
    assert dial(store, memory) == []
    assert reconciling.raise_doubts(store, RULES) == 1
    with store.read() as connection:
        lost = connection.execute(select(attempts).where(attempts.c.id != row["id"])).mappings().one()
    assert (lost["state"], lost["sent_at"]) == (AttemptState.UNCONFIRMED, clock.now() - 10.0)


def test_a_number_that_is_live_elsewhere_waits_and_is_not_forgotten(store: Store, clock: FakeClock) -> None:
    add_campaign(store, [A], name="first")
    add_campaign(store, [A], name="second")
    reconciling.reconcile(store, MINE, since=clock.now() - 10.0)
    assert reconciling.raise_doubts(store, RULES) == 1
    clock.advance(60.0)
    assert reconciling.raise_doubts(store, RULES) == 0
    assert dial(store, memory_of(store)) == []


def test_the_search_goes_back_to_what_the_database_last_knew(store: Store, clock: FakeClock) -> None:
    # Given calls at 10, 20 and 30 seconds, and a backup from after the first
    start = clock.now()
    add_campaign(store, [A, B])
    memory = memory_of(store)
    clock.advance(10.0)
    found = claim(store, LINE, Wish(1), lambda: "1" * 32, None, memory)
    confirm(store, LINE, found.calls, 60.0, RULES, None, memory)
    clock.advance(20.0)
    found = claim(store, LINE, Wish(1), lambda: "2" * 32, None, memory)
    confirm(store, LINE, found.calls, 60.0, RULES, None, memory)
    with store.write() as connection:
        connection.execute(delete(attempts).where(attempts.c.our_ref == "2" * 32))
    clock.advance(100.0)
    # And whoever had no memory dialled after the restore
    with store.write() as connection:
        row = connection.execute(select(attempts)).mappings().one()
        later = {**row, "id": None, "our_ref": "3" * 32, "phone": C, "claimed_at": clock.now(), "sent_at": clock.now()}
        connection.execute(insert(attempts).values({k: v for k, v in later.items() if k != "id"}))
    claim(store, LINE, Wish(1), lambda: "4" * 32, None, memory)
    # Then the search begins at the first call and ends at the lock
    loss = reconciling.loss(store)
    assert (loss.since, loss.until) == (start + 10.0, clock.now())


def test_reconciling_needs_a_lock_or_a_time(store: Store, clock: FakeClock) -> None:
    with pytest.raises(NotPossible, match="not locked"):
        reconciling.reconcile(store, MINE)
    with pytest.raises(NotPossible, match="later than"):
        reconciling.reconcile(store, MINE, since=clock.now() + 60.0)
    reconciling.reconcile(store, MINE, since=clock.now() - 60.0)
    reconciling.raise_doubts(store, RULES)
    with store.read() as connection:
        assert set(connection.execute(select(events.c.kind)).scalars()) == {"reconcile_asked", "dispatch_opened"}


def test_asking_twice_changes_nothing(store: Store) -> None:
    add_campaign(store, [A])
    memory = memory_of(store)
    committed(store, memory)
    forget(store)
    claim(store, LINE, Wish(1), lambda: "5" * 32, None, memory)
    first = reconciling.reconcile(store, MINE)
    assert reconciling.reconcile(store, MINE) == first or reconciling.loss(store).asked
    assert reconciling.raise_doubts(store, RULES) == 1
    assert reconciling.raise_doubts(store, RULES) == 0
