"""What came of a campaign: its figures, its targets and attempts, and the file that an operator takes away."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from campaign.domain.errors import UsageFault
from campaign.domain.instants import format_instant
from campaign.domain.line import Line
from campaign.domain.states import CampaignState, TargetState
from campaign.intake.sheet import write_rows
from campaign.services import restoring
from campaign.services.campaigns import found
from campaign.services.lines import line_view
from campaign.storage import campaigns, dispatch_rows, line_settings, results, targets
from campaign.storage import summary as figures
from campaign.storage.engine import Connection, RowMapping, Store

PAGE = 1_000
FORMATS = ("csv", "jsonl")
RESULT_COLUMNS = (
    *("disposition", "attempts", "first_attempt_at", "last_attempt_at", "answered_at", "talk_seconds", "line"),
    *("provider_call_id", "reason"),
)
ATTEMPT_COLUMNS = (
    *("attempt_id", "state", "disposition", "counted", "sent_at", "placed_at", "answered_at", "ended_at"),
    *("talk_seconds", "line", "caller_id", "provider_call_id", "our_ref", "verdict", "provider_word", "reason"),
)
_NAMES = {"attempt_id": "id", "provider_word": "raw"}


class Writable(Protocol):
    def write(self, text: str, /) -> object: ...


@dataclass(frozen=True, slots=True)
class TargetView:
    """One number of a campaign. Times are epoch seconds; ``reason`` says why it waits, is held, done or skipped."""

    id: int
    phone: str = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)
    state: TargetState
    due_at: float | None
    reason: str | None
    attempts: int
    disposition: str | None
    first_attempt_at: float | None
    last_attempt_at: float | None


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One attempt. ``counted`` says that it was a real one: its number rang, or may have."""

    id: int
    campaign: str
    line: str
    state: str
    disposition: str | None
    counted: bool
    claimed_at: float
    sent_at: float | None
    placed_at: float | None
    answered_at: float | None
    ended_at: float | None
    talk_seconds: int | None
    call_id: str | None
    verdict: str | None
    raw: str | None
    reason: str | None
    next_look_at: float | None
    give_up_at: float | None


def summary(store: Store, name: str, lines: Mapping[str, Line] | None = None) -> dict[str, Any]:
    """What ``campaign show --json`` prints. ``lines`` are the configured ones; ``dispositions`` are of done targets."""
    with store.read() as connection:
        now = store.now(connection)
        campaign = found(connection, name)
        rows = figures.upload_counts(connection, campaign["id"])
        counts = figures.target_counts(connection, campaign["id"])
        attempts = figures.attempt_counts(connection, campaign["id"])
        line_row = line_settings.by_name(connection).get(campaign["line"])
        running = campaign["state"] == CampaignState.RUNNING
        locked = restoring.sentence(dispatch_rows.read(connection)) if running else None
    line = line_view(campaign["line"], (lines or {}).get(campaign["line"]), line_row, now)
    return {
        "campaign": name,
        "state": campaign["state"],
        "why": campaign["why"] or locked,
        "rows": dict(rows),
        "targets": _by_state(counts),
        "dispositions": {word: n for state, word, n in sorted(counts, key=str) if word and state == TargetState.DONE},
        "attempts": dict(attempts),
        "lines": {campaign["line"]: line.summary},
        "started_at": format_instant(campaign["started_at"]),
        "ended_at": format_instant(campaign["ended_at"]),
    }


def overview(store: Store) -> list[dict[str, Any]]:
    """What ``campaign list --json`` prints, the newest first."""
    with store.read() as connection:
        rows = campaigns.every(connection)
        counts = figures.states_of_all(connection, [row["id"] for row in rows])
    return [
        {
            "campaign": row["name"],
            "state": row["state"],
            "why": row["why"],
            "line": row["line"],
            "targets": _by_state([(state, None, n) for state, n in counts.get(row["id"], {}).items()]),
            "created_at": format_instant(row["created_at"]),
            "started_at": format_instant(row["started_at"]),
            "ended_at": format_instant(row["ended_at"]),
        }
        for row in rows
    ]


def targets_page(
    store: Store, name: str, *, state: TargetState | None = None, after: int = 0, limit: int = 100
) -> list[TargetView]:
    """In the order of the upload, those whose id is greater than ``after``; the last one's id is the next ``after``."""
    with store.read() as connection:
        rows = targets.page(connection, found(connection, name)["id"], state, after, limit)
    return [_of_row(TargetView, row, state=TargetState(row["state"])) for row in rows]


def attempts_of_number(store: Store, phone: str, name: str | None = None) -> list[AttemptView]:
    """Every attempt on an E.164 number, over all campaigns or in one, the oldest first."""
    with store.read() as connection:
        campaign_id = found(connection, name)["id"] if name is not None else None
        rows = results.attempts_of_number(connection, phone, campaign_id)
    return [_of_row(AttemptView, row) for row in rows]


def export(store: Store, name: str, out: Writable, *, attempts: bool = False, format: str = "csv") -> int:  # noqa: A002
    """Write every target (or with ``attempts`` every attempt whose request left) to ``out``; how many rows.

    Constant memory, page by page, so of a running campaign it is no snapshot of one moment. CSV cells that a
    spreadsheet would run are made harmless, which an upload undoes; JSON Lines are raw. A column of the upload that has
    the name of one of ours is called ``upload.NAME``. ``out`` must not translate line ends (``newline=""``). Raises
    NotFound, UsageFault.
    """
    if format not in FORMATS:
        raise UsageFault(f"--format {format!r}: write one of {', '.join(FORMATS)}")
    with store.read() as connection:
        campaign_id = found(connection, name)["id"]
        uploaded = results.upload_columns(connection, campaign_id)
        last = (results.attempts_span if attempts else results.span)(connection, campaign_id)
    ours = ATTEMPT_COLUMNS if attempts else RESULT_COLUMNS
    variables = _variables(uploaded, ours)
    pages = _pages(store, results.attempt_page if attempts else results.result_page, campaign_id, *last)
    rows = (_cells(row, variables, ours) for page in pages for row in page)
    header = ["phone", *variables.values(), *ours]
    if format == "csv":
        return write_rows(out, _with_header(header, rows)) - 1
    return _write_lines(out, header, rows)


Page = Sequence[Mapping[Any, Any]]
Pager = Callable[[Connection, int, int, int], Page]


def _pages(store: Store, page: Pager, campaign_id: int, first: int, last: int) -> Iterator[Page]:
    for after in range(first - 1, last, PAGE):
        with store.read() as connection:
            rows = page(connection, campaign_id, after, min(after + PAGE, last))
        yield rows


def _variables(uploaded: Sequence[Sequence[str]], ours: Sequence[str]) -> dict[str, str]:
    """Variable to column name, over all uploads, in the order in which they came."""
    names: dict[str, str] = {}
    for variable in dict.fromkeys(name for columns in uploaded for name in columns):
        column = variable
        while column in ("phone", *ours) or column in names.values():
            column = f"upload.{column}"
        names[variable] = column
    return names


def _cells(row: Mapping[Any, Any], variables: Mapping[str, str], ours: Sequence[str]) -> list[Any]:
    given = [row["variables"].get(variable) for variable in variables]
    return [row["phone"], *given, *(_value(column, row[_NAMES.get(column, column)]) for column in ours)]


def _value(column: str, value: Any) -> Any:
    return format_instant(value) if column.endswith("_at") else value


def _with_header(header: Sequence[str], rows: Iterator[list[Any]]) -> Iterator[list[Any]]:
    yield list(header)
    yield from (["" if cell is None else _word(cell) for cell in row] for row in rows)


def _word(cell: Any) -> Any:
    return ("yes" if cell else "no") if isinstance(cell, bool) else cell


def _write_lines(out: Writable, header: Sequence[str], rows: Iterator[list[Any]]) -> int:
    written = 0
    for row in rows:
        out.write(json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) + "\n")
        written += 1
    return written


def _by_state(counts: Sequence[tuple[str, str | None, int]]) -> dict[str, int]:
    by_state = {str(state): sum(n for of, _, n in counts if of == state) for state in TargetState}
    return {"total": sum(by_state.values()), **by_state}


def _of_row(view: Any, row: RowMapping, **values: Any) -> Any:
    return view(**{name: row[name] for name in view.__slots__ if name not in values}, **values)
