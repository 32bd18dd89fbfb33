"""Outcomes, exchange, ledger and faults without a socket: every instant is an argument."""

import json
from collections import Counter
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaign.domain.dispositions import Disposition
from campaign.domain.errors import UsageFault
from campaign.providers.simulator import most_in_window, simulator_options
from campaign.providers.simulator.calls import CallState, Order, Whims
from campaign.providers.simulator.desk import Desk, Instant
from campaign.providers.simulator.exchange import Exchange
from campaign.providers.simulator.faults import Facts, FaultBook, FaultRule, Place
from campaign.providers.simulator.ledger import Ledger
from campaign.providers.simulator.options import SimulatorOptions, changed_options
from campaign.providers.simulator.outcomes import DEFAULT_MIX, Dice
from campaign.providers.simulator.wire import Manner, Request

START = 1_795_000_000.0
NUMBER = "+14155550123"


def exchange(**words: object) -> Exchange:
    options = simulator_options(**words)
    return Exchange(options, Ledger(options.keep_arrivals), str)


def order(number: str = NUMBER, ref: str | None = None, account: str = "sandbox") -> Order:
    return Order("sandbox", account, number, number, ref)


def facts(number: str = NUMBER, nth: int = 1, place: Place = Place.ORIGINATE, dialect: str = "sandbox") -> Facts:
    return Facts(place, dialect, dialect, number, nth)


# --- outcomes ---


def test_the_same_seed_gives_the_same_fates() -> None:
    # Given two dice of one seed and one of another
    one, same, other = Dice(7, DEFAULT_MIX), Dice(7, DEFAULT_MIX), Dice(8, DEFAULT_MIX)
    numbers = [f"+1415555{place:04}" for place in range(200)]
    # Then number and nth call decide, and the seed
    assert [one.fate(number, 1) for number in numbers] == [same.fate(number, 1) for number in numbers]
    assert [one.fate(number, 1) for number in numbers] != [other.fate(number, 1) for number in numbers]
    assert [one.fate(number, 1) for number in numbers] != [one.fate(number, 2) for number in numbers]


def test_the_mix_is_met() -> None:
    dice = Dice(1, {Disposition.ANSWERED: 3.0, Disposition.BUSY: 1.0, Disposition.ERROR: 0.0})
    seen = Counter(dice.fate(f"+1{place:010}", 1).outcome for place in range(4000))
    assert set(seen) == {Disposition.ANSWERED, Disposition.BUSY}
    assert seen[Disposition.BUSY] / 4000 == pytest.approx(0.25, abs=0.03)


def test_a_script_names_the_outcomes_of_a_number_and_the_last_one_stays() -> None:
    dice = Dice(1, DEFAULT_MIX, {NUMBER: [Disposition.BUSY, Disposition.ANSWERED]})
    assert [dice.fate(NUMBER, nth).outcome for nth in (1, 2, 3)] == ["busy", "answered", "answered"]


# --- the exchange ---


def test_a_call_rings_is_answered_and_ends_in_scaled_time() -> None:
    # Given a call that is answered, at sixty times the speed
    there = exchange(script={NUMBER: ["answered"]}, time_scale=60)
    call = there.place(order(), START)
    # Then its instants are scaled and its talk is not
    assert call.answered_at == pytest.approx(START + call.ring / 60)
    assert call.ends_at == pytest.approx(START + (call.ring + call.talk) / 60)
    assert 5 <= call.talk <= 60
    assert call.answered_at is not None
    instants = (START, call.answered_at, call.ends_at)
    assert [call.state(at) for at in instants] == [CallState.RINGING, CallState.TALKING, CallState.ENDED]
    # And it frees its number when it ends
    assert there.live_call("sandbox", "sandbox", NUMBER) is call
    assert there.advance(call.ends_at) == [call]
    assert there.live_call("sandbox", "sandbox", NUMBER) is None


def test_live_calls_are_counted_to_the_instant() -> None:
    there = exchange(mix="busy=1")
    first, second = there.place(order("+14155550001"), START), there.place(order("+14155550002"), START)
    assert (there.ledger.live, there.ledger.max_live) == (2, 2)
    there.place(order("+14155550003"), max(first.ends_at, second.ends_at))
    assert (there.ledger.live, there.ledger.max_live) == (1, 2)


def test_a_second_ring_is_told_from_a_later_call() -> None:
    there = exchange(mix="answered=1")
    first = there.place(order(ref="a"), START)
    there.place(order(ref="b"), START + 1)
    assert (there.ledger.double_rings, there.ledger.repeated_refs) == (1, 0)
    there.place(order(ref="a"), first.ends_at + 1000)
    assert (there.ledger.double_rings, there.ledger.repeated_refs) == (1, 1)
    assert there.ledger.calls_per_number == {NUMBER: 3}


def test_a_cancel_ends_a_call_once() -> None:
    there = exchange(mix="answered=1")
    call = there.place(order(), START)
    assert there.cancel(call, START + 1)
    assert not there.cancel(call, START + 2)
    assert (call.outcome, call.ends_at, there.ledger.live) == (Disposition.CANCELED, START + 1, 0)
    assert there.advance(START + 1000) == []


def test_what_is_forgotten_is_the_oldest_call() -> None:
    there = exchange(keep_calls=2, mix="busy=1")
    calls = [there.place(order(f"+1415555000{place}", ref=str(place)), START + place) for place in range(3)]
    assert [there.call(call.id) for call in calls] == [None, *calls[1:]]
    assert there.by_ref("sandbox", "0") is None
    there.advance(START + 1000)
    assert all(call.over for call in calls)  # what is forgotten still ends


def test_lists_show_the_account_s_calls_newest_first() -> None:
    there = exchange(list_lag="10s")
    there.place(order("+14155550009", account="another"), START)
    calls = [there.place(order(f"+1415555000{place}"), START + place) for place in range(3)]
    assert list(there.listed("sandbox", "sandbox", START + 9)) == []
    assert list(there.listed("sandbox", "sandbox", START + 11)) == [calls[1], calls[0]]
    assert list(there.listed("sandbox", "sandbox", START + 99, since=START + 1)) == [calls[2], calls[1]]


# --- the ledger ---


def test_the_most_in_a_sliding_second() -> None:
    assert most_in_window([]) == 0
    assert most_in_window([0.0, 0.5, 1.0, 1.5]) == 2  # half-open: 0.0 and 1.0 are never in one second
    assert most_in_window([0.0, 0.5, 0.999, 1.5]) == 3
    assert most_in_window([0.9, 0.0, 0.95, 1.05], window=0.2) == 3


def test_the_ledger_keeps_so_many_arrivals_and_says_so() -> None:
    ledger = Ledger(keep_arrivals=2)
    for place in range(3):
        ledger.arrived("sandbox", f"+1415555000{place}", float(place), START + place)
    ledger.was_refused("429")
    report = ledger.report(frozenset({"arrivals"}), (), 0)
    assert (report.requests, report.arrivals_not_kept, report.refused) == (3, 1, {"429": 1})
    assert report.arrivals is not None
    assert report.arrivals.fate == ["placed", "placed"]  # the third, refused one is not among those kept


# --- faults ---


def test_chance_comes_from_the_seed() -> None:
    def struck(seed: int) -> list[bool]:
        book = FaultBook(seed)
        book.add(FaultRule.model_validate("429:0.1"), START)
        return [book.strike(facts(f"+1{place:010}"), START) is not None for place in range(2000)]

    assert struck(1) == struck(1)
    assert struck(1) != struck(2)
    assert sum(struck(1)) == pytest.approx(200, abs=50)


@pytest.mark.parametrize(
    ("rule", "at", "hits"),
    [
        ("429,nth=1/3", facts(nth=1), True),
        ("429,nth=1/3", facts(nth=2), False),
        ("429,numbers=+1415*", facts(), True),
        ("429,numbers=+1416*/+14155550123", facts(), True),
        ("429,numbers=+1416*", facts(), False),
        ("429,dialect=pathors", facts(), False),
        ("429", facts(place=Place.RESULTS), False),
        ("429,on=results", facts(place=Place.RESULTS), True),
        ("401", facts(place=Place.LIST), True),
        ("500,on=all", facts(place=Place.CANCEL), True),
        ("page_loss", facts(place=Place.LIST), True),
        ("page_loss", facts(), False),
        ("429,starts_after=5s", facts(), False),
        ("swallow", facts(), False),  # a whim strikes the call, not its answer
    ],
)
def test_a_rule_strikes_whom_it_names(rule: str, at: Facts, hits: bool) -> None:
    book = FaultBook(1)
    book.add(FaultRule.model_validate(rule), START)
    assert (book.strike(at, START) is not None) is hits


def test_a_rule_wears_out_and_runs_out() -> None:
    book = FaultBook(1)
    book.add(FaultRule.model_validate("429,times=2"), START)
    book.add(FaultRule.model_validate("500,starts_after=10s,lasts=5s"), START)
    assert [getattr(book.strike(facts(), START + second), "kind", None) for second in (0, 1, 2, 10, 14, 15)] == [
        *("429", "429", None),
        *("500", "500", None),
    ]


def test_whims_add_up() -> None:
    book = FaultBook(1)
    for rule in ("late,seconds=5s", "results_late,seconds=7s", "webhook_twice", "outcome,outcome=error"):
        book.add(FaultRule.model_validate(rule), START)
    whims = book.whims(facts(), START)
    assert (whims.late, whims.result_lag, whims.webhook_twice) == (5.0, 7.0, True)
    assert whims.outcome is Disposition.ERROR


# --- options ---


def test_options_read_what_a_shell_gives() -> None:
    options = simulator_options(
        mix="answered=60, no_answer=20", latency="50ms", faults="429:0.05,retry_after=2s", time_scale="60", port="0"
    )
    assert options.mix == {Disposition.ANSWERED: 60, Disposition.NO_ANSWER: 20}
    assert (options.latency, options.time_scale, options.port) == (0.05, 60.0, 0)
    assert [(rule.kind, rule.probability, rule.retry_after) for rule in options.faults] == [("429", 0.05, 2.0)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"mix": "answered=60,engaged=4"}, "mix.engaged"),
        ({"mix": "answered"}, "write it like answered=60,no_answer=20"),
        ({"mix": "busy=0"}, "at least one outcome needs a weight above 0"),
        ({"latency": "fast"}, "latency: 'fast' is not a duration"),
        ({"time_scale": 0}, "time_scale: Input should be greater than 0"),
        ({"faults": ["explode:0.1"]}, "there is no fault 'explode'"),
        ({"faults": ["429:2"]}, "faults.0.probability"),
        ({"faults": ["429,when=now"]}, "faults.0.when: there is no such option"),
        ({"faults": ["outcome"]}, "needs outcome=DISPOSITION"),
        ({"faults": ["swallow,on=results"]}, "leave `on` out"),
        ({"keys": {"twilio": "x"}}, "there is no dialect 'twilio'; use one of nexbro"),
        ({"variants": {"knovvu": ["lower"]}}, "knovvu has no variant 'lower'; it has: joined"),
        ({"script": {"4155550123": ["busy"]}}, "write the numbers of a script as + and digits"),
        ({"webhooks": {"pathors": {"url": "ftp://x"}}}, "webhooks.pathors.url"),
        ({"speed": 9}, "speed: there is no such option"),
        ({"port": -1, "seed": "x"}, "port: "),
    ],
)
def test_a_bad_option_is_named(words: dict[str, object], said: str) -> None:
    with pytest.raises(UsageFault, match="the sandbox cannot start") as refused:
        simulator_options(**words)
    assert said in str(refused.value)
    if "seed" in words:
        assert "seed: " in str(refused.value)  # every fault at once


def test_what_is_bound_at_the_start_does_not_change() -> None:
    with pytest.raises(UsageFault, match="port, seed cannot change while the sandbox runs"):
        changed_options(SimulatorOptions(), {"seed": 2, "port": 1, "latency": 1})
    assert changed_options(SimulatorOptions(), {"latency": "2s"}).latency == 2.0


# --- the desk: whatever comes, it answers ---

PATHS = [
    ("POST", "/sandbox/calls"),
    ("POST", "/sandbox/results"),
    ("GET", "/sandbox/calls"),
    ("DELETE", "/sandbox/calls/x"),
    ("POST", "/v1/calls/outbound"),
    ("POST", "/project/p/integration/phone/call/outbound"),
    ("POST", "/v1/projects/p/sessions/search"),
    ("GET", "/v1/projects/p/sessions"),
    ("POST", "/ns-api/v2/domains/~/users/~/calls"),
    ("GET", "/ns-api/v2/domains/~/cdrs"),
    ("POST", "/admin/api/nexbro/v1/call/originate"),
    ("GET", "/admin/api/nexbro/v1/call/call-detail-records"),
    ("POST", "/v2/call"),
    ("POST", "/v2/callresult"),
    ("POST", "/api/v2/outgoing/send"),
    ("GET", "/api/v2/outgoing/callstatus"),
]
FIELDS = ["to", "ref", "ids", "variables", "toNumber", "fromNumber", "projectId", "search_string", "limit", "offset"]
FIELDS += ["call-id", "call-term-user", "synchronous", "extension", "destination_number", "gateway_uuid", "bridge"]
FIELDS += ["UniqueIds", "AccessToken", "Project", "ScenarioInputParameters", "flow_id", "interval", "since", "after"]
FIELDS += ["page", "per_page", "from", "datetime-start", "datetime-end", "start", "mobile", "date", "id", "query"]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(10**30), 10**30)
    | st.sampled_from(["", NUMBER, "²", "yes", "inf", "9999-12-31 23:59:59", "0001-01-01", "\ud800", "9" * 5000])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FIELDS, "Name", "Value"]), inner),
    max_leaves=6,
)


@settings(max_examples=150)
@given(st.sampled_from(PATHS), st.dictionaries(st.sampled_from(FIELDS), values, max_size=6), st.booleans())
def test_any_request_is_answered(where: tuple[str, str], fields: dict[str, object], in_query: bool) -> None:
    desk = Desk(simulator_options(mix="answered=1", faults=[]), as_id)
    headers = {"authorization": "Bearer k", "x-api-key": "k", "content-type": "application/json"}
    query = urlencode([(name, str(value)) for name, value in fields.items()], errors="replace") if in_query else ""
    body = json.dumps(fields).encode()
    for again in (0, 60):  # the second time finds what the first has placed
        request = Request(where[0], f"{where[1]}?{query}", headers, body)
        assert 200 <= desk.answer(request, Instant(START + again, again, START)).status < 500
    desk.report(START + 100, frozenset({"numbers", "calls", "arrivals"}))


def as_id(serial: int) -> str:
    return f"{serial:032x}"


def test_a_queued_call_is_listed_now_and_rings_up_to_so_much_later() -> None:
    # Given a provider that holds calls for up to ten minutes
    desk = Desk(simulator_options(mix="busy=1"), as_id)
    desk.faults.add(FaultRule.model_validate("queued,seconds=10m"), START)
    for serial in range(200):
        body = json.dumps({"to": f"+1{4155550000 + serial}", "ref": as_id(serial)}).encode()
        assert desk.answer(Request("POST", "/sandbox/calls", {}, body), Instant(START, 0, START)).status == 202
    # Then each waits a time of its own, over the whole span
    waits = sorted(call.rings_at - START for call in desk.report(START, frozenset({"calls"})).calls or [])
    assert waits[0] < 30
    assert 570 < waits[-1] <= 600
    # And it is shown as queued from the start, and has not rung
    listed = json.loads(desk.answer(Request("GET", "/sandbox/calls", {}, b""), Instant(START + 0.1, 0.1, START)).body)
    assert {(call["state"], call["rang_at"]) for call in listed["calls"]} == {("queued", None)}


def test_a_call_that_is_canceled_in_the_queue_has_never_rung() -> None:
    there = exchange(mix="answered=1")
    call = there.place(order(), START, Whims(queued=60.0))
    assert there.cancel(call, START + 30)
    assert not call.has_rung(START + 1000)
    assert call.state(START + 1000) is CallState.ENDED


def test_a_provider_that_rings_at_once_holds_no_call() -> None:
    desk = Desk(simulator_options(mix="busy=1"), as_id)
    desk.faults.add(FaultRule.model_validate("queued,seconds=10m"), START)
    headers = {"x-api-key": "k", "content-type": "application/json"}
    body = json.dumps({"extension": 234, "destination_number": NUMBER, "gateway_uuid": "g"}).encode()
    request = Request("POST", "/admin/api/nexbro/v1/call/originate", headers, body)
    assert desk.answer(request, Instant(START, 0, START)).status == 200
    (call,) = desk.report(START, frozenset({"calls"})).calls or []
    assert call.rings_at == START


def test_a_late_placement_is_accepted_now_and_rings_later() -> None:
    # Given a provider that loses its answer and places the call half a minute later
    desk = Desk(simulator_options(mix="busy=1"), as_id)
    desk.faults.add(FaultRule.model_validate("hang_after,late=30s"), START)
    request = Request("POST", "/sandbox/calls", {}, json.dumps({"to": NUMBER, "ref": "a"}).encode())
    assert desk.answer(request, Instant(START, 0, START)).manner is Manner.HANG
    # Then its lists do not show the call before it rings
    looks = [Request("GET", f"/sandbox/calls?to=%2B{NUMBER[1:]}", {}, b"") for _ in range(2)]
    shown = [
        json.loads(desk.answer(look, Instant(START + after, after, START)).body)["calls"]
        for look, after in zip(looks, (29, 31), strict=True)
    ]
    assert [len(calls) for calls in shown] == [0, 1]
    (record,) = desk.report(START + 31, frozenset({"calls"})).calls or []
    assert (record.accepted_at, record.rings_at) == (START, START + 30)
