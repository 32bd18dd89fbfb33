"""What must be right before a worker or a beat begins: the configuration, and servers that let us in.

A server that is away is waited for, since starting again would not bring it back. One that refuses us will refuse us
for ever: then the process ends at once, with one sentence and an exit code, instead of failing order after order.
"""

import logging
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from redis import Redis
from redis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from campaign.config import Settings
from campaign.domain.errors import CampaignError, OutOfReach
from campaign.policies.zone_data import is_old
from campaign.runtime import checked_lines, read_settings
from campaign.storage.engine import Store, open_store
from campaign.storage.migrate import require_tables
from workers import logs

log = logging.getLogger(__name__)

WAIT = 30.0
"""Seconds for a server to begin to answer; a worker whose database does not by then is not started."""

ANSWER_WITHIN = 5.0
REFUSALS = ("password authentication failed", "no password supplied", "does not exist", "pg_hba.conf", "not permitted")
"""What PostgreSQL says to whom it will never let in (in another language it is found out after WAIT seconds)."""


def or_exit(check: Callable[[Mapping[str, str], Path], object], environ: Mapping[str, str], cwd: Path) -> None:
    """Raises SystemExit with the fault's exit code; a signal's handler may raise nothing else that is heard."""
    try:
        check(environ, cwd)
    except CampaignError as error:
        log.critical("not started: %s", error)
        raise SystemExit(error.exit_code) from None


def check_worker(environ: Mapping[str, str], cwd: Path) -> None:
    """Raises UsageFault for settings and lines, OutOfReach for servers, NotPossible for tables that are not there."""
    settings = check_beat(environ, cwd)
    checked_lines(settings, environ)
    store = _answering(settings.database_url)
    try:
        require_tables(store)
    finally:
        store.close()
    if is_old(release := version("tzdata"), time.time()):
        log.warning(
            "time zone data %s is over a year old: calling hours may be wrong where the law has changed", release
        )


def check_beat(environ: Mapping[str, str], cwd: Path) -> Settings:
    settings = read_settings(environ, cwd)
    logs.set_up(logging.INFO, settings.log_format)  # Celery asks for it only after this
    let_in(settings.broker_url)
    return settings


def let_in(broker_url: str | None) -> None:
    """Returns where the broker is away: Celery waits for it. One that takes its time to answer is asked again, since
    Celery would also wait for one that refuses us."""
    until = time.monotonic() + WAIT
    while broker_url is not None and not _answers(broker_url) and time.monotonic() < until:
        log.warning("the broker takes its time to answer")


def _answers(broker_url: str) -> bool:
    """Whether it is known that the broker lets us in, or that nobody is there."""
    try:
        with Redis.from_url(broker_url, socket_timeout=ANSWER_WITHIN, socket_connect_timeout=ANSWER_WITHIN) as redis:
            redis.ping()
    except NoAnswer:
        return False
    except (AuthenticationError, AuthorizationError, ResponseError) as error:
        raise OutOfReach(
            f"the broker of CAMPAIGN_BROKER_URL refuses us ({type(error).__name__}); check its user and password"
        ) from None
    except (RedisError, OSError) as error:
        log.warning("the broker does not answer yet (%s)", type(error).__name__)
    return True


def _answering(url: str) -> Store:
    until = time.monotonic() + WAIT
    while True:
        try:
            return open_store(url)
        except OutOfReach as error:
            if any(words in str(error) for words in REFUSALS) or time.monotonic() >= until:
                raise
            log.warning("%s", error)
        time.sleep(1.0)
