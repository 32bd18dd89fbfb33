"""Targets over which workers keep dying: one at a time in each process, until one of them has shown what it is."""

import asyncio
from itertools import count

from sqlalchemy import update

from campaign.domain.calls import OutboundCall
from campaign.domain.verdicts import Verdict
from campaign.services.claiming import SUSPECT_AFTER, SUSPECT_EVERY, Claim, Wish, claim
from campaign.services.dialing import Dialer
from campaign.storage.engine import Store
from campaign.storage.schema import attempts, targets
from tests.clock import FakeClock
from tests.engine import LINE, ScriptedProvider, add_campaign, numbers, outside

_refs = count(1)


def given_suspects(store: Store, suspects: list[str], healthy: list[str]) -> None:
    add_campaign(store, suspects + healthy)
    with store.write() as connection:
        chosen = update(targets).where(targets.c.phone.in_(suspects))
        connection.execute(chosen.values(rescues=SUSPECT_AFTER))


def claimed(store: Store, suspect: int | None = None) -> Claim:
    return claim(store, LINE, Wish(10, suspect=suspect), lambda: f"{next(_refs):032x}")


def test_each_process_has_one_suspect_in_hand_whatever_the_others_have(store: Store, clock: FakeClock) -> None:
    # Given four suspects among seven due targets
    suspects, healthy = numbers(7)[:4], numbers(7)[4:]
    given_suspects(store, suspects, healthy)
    # When a process claims
    first = claimed(store)
    # Then it has all that are healthy, and one suspect
    (mine,) = [call for call in first.calls if call.suspect]
    assert {call.call.phone for call in first.calls} == {mine.call.phone, *healthy}
    # And another process has one of its own, but not at the same moment
    assert not claimed(store).calls
    clock.advance(SUSPECT_EVERY)
    (theirs,) = claimed(store).calls
    assert theirs.suspect
    # And the first gets none while it has its own in hand
    clock.advance(2 * SUSPECT_EVERY)
    assert not claimed(store, mine.attempt_id).calls
    # When that was answered
    with store.write() as connection:
        answered = update(attempts).where(attempts.c.id == mine.attempt_id)
        connection.execute(answered.values(state="placed"))
    clock.advance(2 * SUSPECT_EVERY)
    # Then it gets the next
    assert [call.suspect for call in claimed(store, mine.attempt_id).calls] == [True]


class SlowProvider(ScriptedProvider):
    """Notes the numbers that are in the air together with another."""

    def __init__(self) -> None:
        super().__init__()
        self.in_air: set[str] = set()
        self.together: set[frozenset[str]] = set()

    async def originate(self, call: OutboundCall) -> Verdict:
        self.together |= {frozenset({call.phone, other}) for other in self.in_air}
        self.in_air.add(call.phone)
        await asyncio.sleep(0.1)
        self.in_air.remove(call.phone)
        return await super().originate(call)


def test_a_process_dials_its_suspects_one_after_another(store: Store, clock: FakeClock) -> None:
    # Given four suspects among twenty, and a provider that takes its time
    phones = numbers(20)
    given_suspects(store, phones[:4], phones[4:])
    provider = SlowProvider()

    async def run() -> None:
        dialer = Dialer(LINE, provider, outside(store))
        for _ in range(200):
            await dialer.run(1.0)
            await asyncio.sleep(0.02)
            clock.advance(SUSPECT_EVERY)
            if len(provider.rung) == len(phones):
                break
        await dialer.drained()
        await dialer.outside.recorder.drained()

    # When one process dials until every number rang
    asyncio.run(run())
    # Then each rang once; others were in the air together, suspects never
    assert sorted(phone for _, phone in provider.rung) == sorted(phones)
    assert provider.together
    assert not [pair for pair in provider.together if pair <= set(phones[:4])]
