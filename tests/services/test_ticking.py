"""How many processes a tick asks to dial: few that take many calls, and more only where these are not enough."""

import os

import pytest

from campaign.services.claiming import Wish, claim, confirm
from campaign.services.ticking import DIAL, PROCESS_AWAITS, PROCESS_CARRIES, SPARE_UP_TO, orders
from campaign.storage import line_rows, line_settings, process_rows
from campaign.storage.engine import Store
from tests.engine import LINE, add_campaign, numbers


def alive(store: Store, processes: int) -> None:
    with store.write() as connection:
        for number in range(processes):
            process_rows.beat(connection, f"host:{number}", DIAL, store.now(connection), 0.0)


def asked_to_dial(store: Store, pace: float) -> int:
    return sum(order.kind == DIAL for order in orders(store, {LINE.name: pace}))


@pytest.mark.parametrize(
    ("due", "pace", "processes", "asked"),
    [
        (3, 10.0, 4, 1),
        (PROCESS_CARRIES + 1, float(PROCESS_CARRIES), 4, 1),
        (PROCESS_CARRIES + 1, 4.0 * PROCESS_CARRIES, 4, 2),
        (PROCESS_CARRIES + 1, 4.0 * PROCESS_CARRIES, 1, 1),
        (PROCESS_CARRIES + 1, 4.0 * PROCESS_CARRIES, 0, 1),
    ],
)
def test_as_many_as_the_calls_of_a_second_need_and_no_more_than_there_are(
    store: Store, due: int, pace: float, processes: int, asked: int
) -> None:
    add_campaign(store, numbers(due))
    alive(store, processes)
    assert asked_to_dial(store, pace) == asked


def test_a_provider_that_answers_slowly_gets_more_processes_to_wait_for_it(store: Store) -> None:
    # Given a slow line, and more requests out than one process should wait for
    add_campaign(store, numbers(PROCESS_AWAITS + 20))
    alive(store, 4)
    found = claim(store, LINE, Wish(PROCESS_AWAITS + 15), lambda: os.urandom(16).hex())
    # When they are only claimed, they are nobody's to wait for
    assert asked_to_dial(store, 10.0) == 1
    # When they have left, a second process is asked
    confirm(store, LINE, found.calls, 60.0, {})
    assert asked_to_dial(store, 10.0) == 2


def test_calls_that_are_merely_on_their_way_need_no_second_process(store: Store) -> None:
    # Given a quick line, of which half a second's calls are about to leave or to be recorded
    pace, sending = 1000.0, 900
    add_campaign(store, numbers(2 * sending))
    alive(store, 4)
    found = claim(store, LINE, Wish(sending), lambda: os.urandom(16).hex())
    confirm(store, LINE, found.calls, 60.0, {})
    assert asked_to_dial(store, pace) == 1


@pytest.mark.parametrize(("pace", "needed"), [(10.0, 2), (SPARE_UP_TO, 2), (SPARE_UP_TO + 1, 1)])
def test_a_slow_line_has_one_process_to_spare(store: Store, pace: float, needed: int) -> None:
    # Given a line that one process could dial, When it is slow, Then a second one may, too: each takes an order in turn
    add_campaign(store, numbers(3))
    alive(store, 4)
    assert [order.more for order in orders(store, {LINE.name: pace}) if order.kind == DIAL] == [(needed,)]


def test_a_line_that_was_slowed_while_running_has_one_to_spare_as_well(store: Store) -> None:
    # Given a line that is configured as a quick one, When somebody slows it
    add_campaign(store, numbers(3))
    alive(store, 4)
    with store.write() as connection:
        line_rows.insert_missing(connection, [LINE.name])
        line_settings.change(connection, LINE.name, {"calls_per_second": 10.0})
    # Then it is a slow one
    assert [order.more for order in orders(store, {LINE.name: 1000.0}) if order.kind == DIAL] == [(2,)]
