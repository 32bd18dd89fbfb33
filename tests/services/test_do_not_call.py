"""The do-not-call list: what is on it is not called any more, from this moment on."""

from campaign.services import do_not_call
from campaign.services.do_not_call import Added
from campaign.storage.engine import Store
from tests.clock import FakeClock
from tests.services.rows import add_target, journal, running, target

ONE, TWO, THREE = "+12025550101", "+12025550102", "+12025550103"


def test_adding_a_number_skips_it_wherever_it_waits(store: Store) -> None:
    first, second = running(store), running(store, "other")
    waits = [add_target(store, first, ONE), add_target(store, second, ONE)]
    spared = [add_target(store, first, TWO), add_target(store, first, THREE, "calling")]
    assert do_not_call.add(store, [ONE, THREE], "asked by letter") == Added(added=2, known=0, skipped=2)
    assert [(target(store, t)["state"], target(store, t)["reason"]) for t in waits] == [("skipped", "do not call")] * 2
    assert [target(store, t)["state"] for t in spared] == ["waiting", "calling"]


def test_a_number_is_listed_once_with_its_first_reason(store: Store, clock: FakeClock) -> None:
    do_not_call.add(store, [ONE], "by letter")
    since = clock.now()
    clock.advance(60)
    assert do_not_call.add(store, [ONE, ONE, TWO], "by phone") == Added(added=1, known=1, skipped=0)
    listed = list(do_not_call.list_numbers(store))
    assert [(n.phone, n.reason, n.added_at) for n in listed] == [
        (ONE, "by letter", since),
        (TWO, "by phone", clock.now()),
    ]


def test_a_removed_number_is_gone_from_the_list(store: Store) -> None:
    do_not_call.add(store, [ONE, TWO])
    assert do_not_call.remove(store, [ONE, THREE]) == 1
    assert (do_not_call.is_listed(store, ONE), do_not_call.is_listed(store, TWO)) == (False, True)


def test_a_long_list_streams_in_and_out(store: Store) -> None:
    numbers = (f"+1202{n:07d}" for n in range(12_001))
    assert do_not_call.add(store, numbers).added == 12_001
    assert do_not_call.count(store) == 12_001
    assert sum(1 for _ in do_not_call.list_numbers(store)) == 12_001


def test_the_journal_and_the_representation_hold_no_number(store: Store) -> None:
    do_not_call.add(store, [ONE])
    assert journal(store) == ["dnc_added"]
    assert ONE not in repr(list(do_not_call.list_numbers(store)))
