"""Opening the database. Two ways in: ``write()`` is one immediate transaction, ``read()`` one snapshot.

SQLite runs in WAL with ``synchronous=FULL``: a commit that precedes a call must survive a power cut. A write begins
with ``BEGIN IMMEDIATE`` so that two writers queue up instead of failing half-way. PostgreSQL runs READ COMMITTED; what
must not change under a decision is read ``FOR UPDATE``.
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, create_engine, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError, SQLAlchemyError

from campaign.domain.clock import Clock
from campaign.domain.errors import CampaignError, OutOfReach, UsageFault

__all__ = ["Connection", "DataError", "RowMapping", "Store", "SystemClock", "is_lasting", "open_store"]

_BEGIN = "campaign_begin"
_NOW = text("SELECT extract(epoch FROM clock_timestamp())")


def is_lasting(error: Exception) -> bool:
    """Would the same rows meet the same error again, however long one waits? A database that is away, full, locked or
    read-only will take them one day; a value that it cannot hold, or a fault of ours, stays."""
    if isinstance(error, (DataError, IntegrityError, ProgrammingError)):
        return True
    return not isinstance(error, (SQLAlchemyError, CampaignError, OSError))


class SystemClock:
    """The machine's clock; the one place that reads it, beside the workers' own."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class Store:
    """A database and a clock. On PostgreSQL the clock is the server's unless ``clock`` is given (tests)."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self.engine = engine
        self.sqlite = engine.dialect.name == "sqlite"
        self._server_clock = clock is None and not self.sqlite
        self.clock: Clock = clock or SystemClock()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may change rows; committed on leaving, rolled back on an exception."""
        with self._begin("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that only looks."""
        with self._begin("BEGIN") as connection:
            yield connection

    @contextmanager
    def _begin(self, begin: str) -> Iterator[Connection]:
        try:
            with self.engine.connect().execution_options(**{_BEGIN: begin}) as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            if _was_interrupted(error):
                raise KeyboardInterrupt from error
            raise

    def now(self, connection: Connection) -> float:
        """Epoch seconds by the clock that all processes share."""
        if self._server_clock:
            return float(connection.execute(_NOW).scalar_one())
        return self.clock.now()

    def clock_ahead(self, now: float) -> float:
        """Seconds by which this process's own clock is ahead of ``now``, which :meth:`now` has just said."""
        return self.clock.now() - now if self._server_clock else 0.0

    def close(self) -> None:
        self.engine.dispose()


def _was_interrupted(error: BaseException | None) -> bool:
    """Did Ctrl-C come first? A driver that tidies up after it in the middle of an answer raises errors of its own over
    it (psycopg 3.3 in SQLAlchemy's `do_ping`, which sets autocommit back), and whoever waits for Ctrl-C misses it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def open_store(url: str, clock: Clock | None = None) -> Store:
    """Raises UsageFault for a URL that is none, OutOfReach where the database does not answer."""
    try:
        parsed = make_url(url)
        engine = _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgres(parsed)
    except (SQLAlchemyError, ImportError, NotImplementedError) as error:
        raise UsageFault(
            f"CAMPAIGN_DATABASE_URL: not a database URL that can be opened ({type(error).__name__}); "
            "write postgresql+psycopg://user@host/name or sqlite:///path"
        ) from None
    try:
        with engine.connect():
            pass
    except DBAPIError as error:
        remedy = "is its folder there, and may you write to it? CAMPAIGN_HOME or CAMPAIGN_DATABASE_URL names another"
        if parsed.get_backend_name() != "sqlite":
            remedy = "check CAMPAIGN_DATABASE_URL and that the server runs"
        name = parsed.render_as_string(hide_password=True)
        raise OutOfReach(f"the database {name} does not answer ({_first_line(error)}); {remedy}") from None
    return Store(engine, clock)


def _first_line(error: DBAPIError) -> str:
    """What the server said, where it said something; a driver that tried several addresses says that first."""
    said = str(error.orig).strip().splitlines()
    return next((line for line in said if "FATAL" in line), said[0] if said else type(error.orig).__name__)


def _read_json(text: str | bytes) -> Any:
    """Most variables and tallies are empty, and a call reads three of them."""
    return {} if text in ("{}", b"{}") else json.loads(text)


def _postgres(url: URL) -> Engine:
    if url.get_backend_name() != "postgresql":
        raise NotImplementedError(url.get_backend_name())
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=8,
        max_overflow=8,
        pool_pre_ping=True,
        json_deserializer=_read_json,
        connect_args={"connect_timeout": 5, "application_name": "campaign", **_NOTICE_SILENCE},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_SESSION)
        connection.commit()

    return engine


_NOTICE_SILENCE = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
"""A server that vanished without a word is noticed within half a minute instead of two hours."""

_SESSION = """
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
UNION ALL SELECT set_config('idle_in_transaction_session_timeout', '30s', false)
UNION ALL SELECT set_config('plan_cache_mode', 'force_custom_plan', false)
UNION ALL SELECT set_config('random_page_cost', '1.1', false)
"""
"""A commit that precedes a call must survive a power cut. And a worker that was frozen in the middle of a claim must
not hold the line's row for longer than half a minute: the server ends its transaction and others claim. A plan is made
anew for each statement: one that was kept from when the tables were empty cost a fifth of the calls per second. And
what a call needs lies in memory: taken for rows on a disk, hundreds of them by id had whole tables read through."""


_PRIMARY = 0xFF
"""The part of SQLite's error codes that is the kind; the rest says more."""


def _sqlite(url: URL) -> Engine:
    arguments = {"timeout": 30.0, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, pool_size=8, json_deserializer=_read_json)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN IMMEDIATE"))

    @event.listens_for(engine, "handle_error")
    def _reopen(context: ExceptionContext) -> None:
        """A connection that was opened while the file took no writes takes none ever after."""
        code = getattr(context.original_exception, "sqlite_errorcode", 0)
        if code & _PRIMARY == sqlite3.SQLITE_READONLY:
            context.is_disconnect = True

    return engine
