"""``doctor``: one look at everything that a campaign depends on."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import click

from campaign.cli.command import Command, Session, json_flag, pass_session
from campaign.cli.output import plural, print_json, print_table
from campaign.domain.clock import CLOCKS_APART
from campaign.domain.errors import CampaignError, NotPossible

KEY_MISSED_LATELY = 60.0

GOOD, WARN, BAD = "ok", "look", "fault"


class Finding(NamedTuple):
    """``exit_code`` is that of the fault; a warning has none."""

    what: str
    result: str
    said: str
    exit_code: int = 0


@click.command("doctor", cls=Command, examples=["campaign doctor", "campaign doctor --json"])
@json_flag
@pass_session
def doctor_command(session: Session, as_json: bool) -> None:
    """Check settings, database, broker, lines, workers and clocks.

    Exit code 2 for a fault of the configuration, 4 where dispatch is locked, 5 where something is out of reach. Nobody
    is called, no key is used: `campaign lines check` does that.
    """
    findings = list(_findings(session))
    if as_json:
        print_json([{"what": f.what, "result": f.result, "said": f.said} for f in findings])
    else:
        print_table(("what", "result", "said"), [finding[:3] for finding in findings])
    codes = [finding.exit_code for finding in findings if finding.exit_code]
    if codes:
        raise click.exceptions.Exit(5 if 5 in codes else codes[0])


def _findings(session: Session) -> Iterator[Finding]:
    settings = _tried("settings", lambda: f"home {session.settings.home}")
    yield settings
    yield _zones()
    if settings.exit_code:
        return
    yield _tried("lines", lambda: ", ".join(f"{line.name} ({line.provider})" for line in session.lines.values()))
    database = _tried("database", lambda: _database(session))
    yield database
    if not database.exit_code:
        tables = _tried("tables", lambda: _tables(session))
        yield tables
        yield _clock(session)
        if not tables.exit_code:
            yield _dispatch(session)
            yield _workers(session)
            yield from _clocks_of_workers(session)
            yield from _orphans(session)
            yield from _erasure(session)
    yield _broker(session)


def _tried(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, GOOD, look())
    except CampaignError as error:
        return Finding(what, BAD, "; ".join(map(str.strip, str(error).splitlines())), error.exit_code)


def _database(session: Session) -> str:
    name = session.database.engine.url.render_as_string(hide_password=True)
    with session.database.read():
        alone = session.database.sqlite and not session.settings.embedded
    return f"{name} answers" + ("; a broker is set, but only workers of this machine can open a file" if alone else "")


def _tables(session: Session) -> str:
    from campaign.storage.migrate import current

    return f"revision {current(session.store)}"


def _clock(session: Session) -> Finding:
    """Leases and hours go by the database's clock; workers on a machine that disagrees do not dial."""
    with session.database.read() as connection:
        skew = time.time() - session.database.now(connection)
    if abs(skew) > CLOCKS_APART:
        said = f"this machine is {skew:+.1f} s off the database's clock and would not dial; set it by NTP"
        return Finding("clock", WARN, said)
    return Finding("clock", GOOD, f"{skew:+.1f} s off the database's")


def _dispatch(session: Session) -> Finding:
    """Locked only where the database was seen to have lost something."""
    from campaign.services.restoring import locked

    why = locked(session.store)
    return Finding("dispatch", BAD, why, NotPossible.exit_code) if why else Finding("dispatch", GOOD, "open")


def _workers(session: Session) -> Finding:
    from campaign.cli.vitals import workers_seen

    seen = workers_seen(session.store)
    if seen is not None:
        return Finding("workers", GOOD, f"seen {seen:.0f} s ago")
    remedy = (
        "`campaign up`, or any `campaign run`" if session.settings.embedded else "celery -A workers worker, and beat"
    )
    return Finding("workers", WARN, f"none has been seen lately; start {remedy}")


def _clocks_of_workers(session: Session) -> Iterator[Finding]:
    from campaign.cli.vitals import wrong_clocks

    for machine, ahead in wrong_clocks(session.store):
        said = f"{machine} is {ahead:+.1f} s off the database's clock, so its workers do not dial; set it by NTP"
        yield Finding("worker clocks", WARN, said)


def _erasure(session: Session) -> Iterator[Finding]:
    """Nothing where nobody was ever erased."""
    from campaign.services.erasing import standing

    now = standing(session.store, session.erasure_key)
    if now.key is not None:
        yield Finding("erasure", BAD, f"{now.key}; nothing is dialled without it", 2)
    elif now.missed_at is not None and now.asked_at - now.missed_at < KEY_MISSED_LATELY:
        yield Finding("erasure", WARN, "a worker does not dial, since it has not the CAMPAIGN_ERASURE_KEY of here")
    elif now.numbers:
        said = f"{plural(now.numbers - now.waiting, 'number')} erased, {now.waiting:,} open (`campaign erase --status`)"
        yield Finding("erasure", GOOD, said)


def _orphans(session: Session) -> Iterator[Finding]:
    from campaign.cli.vitals import orphans_of_a_week

    for line, count in orphans_of_a_week(session.store).items():
        said = (
            f"webhook deliveries on line {line}: {count} tell of calls that nobody here has made, for over an hour; "
            "does another system use this account, or is a webhook set for the wrong line?"
        )
        yield Finding("orphan results", WARN, said)


def _broker(session: Session) -> Finding:
    from campaign.cli.broker_ping import ping

    if session.settings.broker_url is None:
        return Finding("broker", GOOD, "none configured: each command brings its own")
    fault = ping(session.settings.broker_url)
    return Finding("broker", BAD, fault, 5) if fault else Finding("broker", GOOD, "answers")


def _zones() -> Finding:
    from importlib.metadata import version

    from campaign.policies.zone_data import is_old

    release = version("tzdata")
    if is_old(release, time.time()):
        return Finding("time zones", WARN, f"tzdata {release} is over a year old; pip install --upgrade tzdata")
    return Finding("time zones", GOOD, f"tzdata {release}")
