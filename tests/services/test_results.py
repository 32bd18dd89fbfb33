"""What came of a campaign: the figures, the pages, the file that reads back as it was."""

import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaign.domain.errors import UsageFault
from campaign.domain.line import Line
from campaign.domain.states import TargetState
from campaign.intake.sheet import unescaped, write_rows
from campaign.services import results
from campaign.storage.engine import Store
from tests.services.rows import add_attempt, add_target, add_upload, running

PHONE = "+12025550{:03d}".format
SENT, ENDED = 1_795_000_000.0, 1_795_000_042.7
LINES = {"sandbox": Line(name="sandbox", provider="sandbox", base_url="http://x", calls_per_second=5, max_in_flight=40)}


def campaign_with_results(store: Store) -> int:
    campaign = running(store)
    add_upload(store, campaign, ["Mobile", "name", "disposition"], rows_read=5, accepted=4, duplicates=1, rejected=0)
    variables = {"name": "=cmd()", "disposition": "theirs"}
    first = add_target(
        store, campaign, PHONE(1), "done", disposition="answered", attempts=2, variables=variables,
        first_attempt_at=SENT - 600, last_attempt_at=SENT, reason="answered",
    )  # fmt: skip
    add_attempt(store, first, "ended", disposition="busy", counted=True, sent_at=SENT - 600, call_id="old")
    add_attempt(
        store, first, "ended", disposition="answered", counted=True, sent_at=SENT, answered_at=ENDED - 30,
        ended_at=ENDED, talk_seconds=30, call_id="c-1", raw="completed",
    )  # fmt: skip
    add_attempt(store, first, "refused", verdict="conflict")
    add_attempt(store, first, "released")
    waits = add_target(store, campaign, PHONE(2), reason="retry 1 of 2 after busy", disposition="busy", attempts=1)
    add_attempt(store, waits, "refused", verdict="throttled")
    calling = add_target(store, campaign, PHONE(3), "calling")
    add_attempt(store, calling, "unconfirmed", sent_at=SENT)
    add_target(store, campaign, PHONE(4), "skipped", reason="do not call")
    return campaign


def read_csv(store: Store, **how: object) -> list[dict[str, str]]:
    out = io.StringIO(newline="")
    results.export(store, "recall", out, **how)  # type: ignore[arg-type]
    return list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))


def test_the_summary_is_what_show_prints(store: Store) -> None:
    campaign_with_results(store)
    assert results.summary(store, "recall", LINES) == {
        "campaign": "recall",
        "state": "running",
        "why": None,
        "rows": {"read": 5, "accepted": 4, "duplicates": 1, "rejected": 0},
        "targets": {"total": 4, "waiting": 1, "calling": 1, "held": 0, "done": 1, "skipped": 1},
        "dispositions": {"answered": 1},
        "attempts": {"total": 2, "live": 1, "unconfirmed": 1, "conflicts": 1, "throttled": 1},
        "lines": {"sandbox": {"calls_per_second": 5.0, "max_in_flight": 40, "state": "open"}},
        "started_at": "2026-11-18T11:06:40Z",
        "ended_at": None,
    }


def test_a_campaign_without_anything_has_a_summary_of_noughts(store: Store) -> None:
    running(store)
    seen = results.summary(store, "recall")
    assert set(seen["targets"].values()) == {0}
    assert set(seen["attempts"].values()) == set(seen["rows"].values()) == {0}
    json.dumps(seen)


def test_every_target_is_exported_with_its_last_real_attempt(store: Store) -> None:
    campaign_with_results(store)
    rows = read_csv(store)
    assert list(rows[0]) == ["phone", "name", "upload.disposition", *results.RESULT_COLUMNS]
    assert rows[0] == {
        "phone": "'+12025550001",
        "name": "'=cmd()",
        "upload.disposition": "theirs",
        "disposition": "answered",
        "attempts": "2",
        "first_attempt_at": "2026-11-18T10:56:40Z",
        "last_attempt_at": "2026-11-18T11:06:40Z",
        "answered_at": "2026-11-18T11:06:52Z",
        "talk_seconds": "30",
        "line": "sandbox",
        "provider_call_id": "c-1",
        "reason": "answered",
    }
    assert [row["reason"] for row in rows[1:]] == ["retry 1 of 2 after busy", "", "do not call"]


def test_every_attempt_whose_request_left_is_exported(store: Store) -> None:
    campaign_with_results(store)
    rows = read_csv(store, attempts=True)
    assert [(row["state"], row["disposition"], row["counted"], row["verdict"]) for row in rows] == [
        ("ended", "busy", "yes", ""),
        ("ended", "answered", "yes", ""),
        ("refused", "", "no", "conflict"),
        ("refused", "", "no", "throttled"),
        ("unconfirmed", "", "no", ""),
    ]
    assert (rows[1]["provider_word"], rows[1]["provider_call_id"], rows[1]["name"]) == ("completed", "c-1", "'=cmd()")


def test_json_lines_are_raw(store: Store) -> None:
    campaign_with_results(store)
    out = io.StringIO()
    assert results.export(store, "recall", out, format="jsonl") == 4
    first = json.loads(out.getvalue().splitlines()[0])
    assert (first["phone"], first["name"], first["attempts"], first["talk_seconds"]) == (PHONE(1), "=cmd()", 2, 30)


def test_a_format_that_is_none_is_refused(store: Store) -> None:
    running(store)
    with pytest.raises(UsageFault, match="csv, jsonl"):
        results.export(store, "recall", io.StringIO(), format="xlsx")


def test_an_export_of_several_uploads_has_the_columns_of_all_and_no_row_of_another_campaign(store: Store) -> None:
    campaign, other = running(store), running(store, "other")
    add_upload(store, campaign, ["phone", "name"])
    add_upload(store, campaign, ["tel", "city", "name"])
    add_target(store, other, PHONE(9))
    add_target(store, campaign, PHONE(1), variables={"name": "Ada"})
    add_target(store, other, PHONE(8))
    add_target(store, campaign, PHONE(2), variables={"city": "Bonn", "name": "Max"})
    rows = read_csv(store)
    assert [(row["phone"], row["name"], row["city"]) for row in rows] == [
        ("'" + PHONE(1), "Ada", ""),
        ("'" + PHONE(2), "Max", "Bonn"),
    ]


def test_an_export_longer_than_a_page_is_whole_and_in_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "PAGE", 3)
    campaign = running(store)
    for number in range(10):
        add_target(store, campaign, PHONE(number))
    assert [row["phone"] for row in read_csv(store)] == [f"'{PHONE(n)}" for n in range(10)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cell=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12))
def test_what_is_exported_reads_back_as_it_was(cell: str) -> None:
    out = io.StringIO(newline="")
    write_rows(out, [["phone", "cell"], [PHONE(1), cell]])
    row = list(csv.reader(io.StringIO(out.getvalue(), newline=""), strict=True))[1]
    assert not row[1].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert [unescaped(field) for field in row] == [PHONE(1), cell]


def test_targets_come_page_by_page(store: Store) -> None:
    campaign_with_results(store)
    first = results.targets_page(store, "recall", limit=3)
    rest = results.targets_page(store, "recall", after=first[-1].id)
    assert [t.phone for t in [*first, *rest]] == [PHONE(n) for n in (1, 2, 3, 4)]
    waiting = results.targets_page(store, "recall", state=TargetState.WAITING)
    assert [(t.phone, t.reason) for t in waiting] == [(PHONE(2), "retry 1 of 2 after busy")]
    assert PHONE(2) not in repr(waiting)


def test_a_number_has_its_attempts_over_all_campaigns(store: Store) -> None:
    campaign_with_results(store)
    other = add_target(store, running(store, "other"), PHONE(1))
    add_attempt(store, other, "ended", disposition="busy", counted=True)
    everywhere = results.attempts_of_number(store, PHONE(1))
    assert [(a.campaign, a.state) for a in everywhere] == [
        ("recall", "ended"), ("recall", "ended"), ("recall", "refused"), ("recall", "released"), ("other", "ended"),
    ]  # fmt: skip
    assert len(results.attempts_of_number(store, PHONE(1), "other")) == 1


def test_the_overview_counts_the_targets_of_every_campaign(store: Store) -> None:
    campaign_with_results(store)
    running(store, "empty")
    seen = {row["campaign"]: row["targets"]["total"] for row in results.overview(store)}
    assert seen == {"empty": 0, "recall": 4}
