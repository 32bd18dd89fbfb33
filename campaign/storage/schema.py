"""The tables. Times are epoch seconds in UTC (docs/decisions/0002-time-as-epoch-seconds.md); states are words of ours.

What the database itself makes impossible: two live attempts for one number (``one_live_attempt_per_number``), one
number twice in a campaign, one fire of a retry batch twice, one delivery stored twice.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from campaign.domain.dispositions import Disposition
from campaign.domain.states import (
    LIVE_ATTEMPT_STATES,
    AttemptState,
    CampaignState,
    LineState,
    TargetState,
    UploadState,
)
from campaign.domain.verdicts import VerdictKind

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = BigInteger().with_variant(Integer, "sqlite")
Phone = String(100)  # E.164, or what stands there once a person has been erased (campaign.domain.erasure)
LIVE = "state IN ({})".format(", ".join(f"'{state}'" for state in sorted(LIVE_ATTEMPT_STATES)))
LEASED = "state IN ('claimed', 'sending')"
LOOKED_AT = "state IN ('placed', 'unconfirmed')"
UNSURE = "state = 'waiting' AND unsure_since IS NOT NULL"


def _words(column: str, vocabulary: type) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in vocabulary)  # type: ignore[attr-defined]
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_is_a_word")


campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("state", String(16), nullable=False, default=CampaignState.DRAFT),
    Column("why", Text),
    Column("line", String(100), nullable=False),
    Column("plan", JSON, nullable=False),
    Column("region", String(2)),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    _words("state", CampaignState),
    Index(None, "line", "state"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Id, primary_key=True),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("file_name", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("reading", JSON, nullable=False),  # region, column mapping, encoding, as declared with the upload
    Column("columns", JSON),  # the header as it came, the phone column first
    Column("state", String(16), nullable=False, default=UploadState.RECEIVED),
    Column("why", Text),
    Column("bytes_read", BigInteger, nullable=False, default=0),
    Column("rows_read", BigInteger, nullable=False, default=0),
    Column("accepted", BigInteger, nullable=False, default=0),
    Column("duplicates", BigInteger, nullable=False, default=0),
    Column("rejected", BigInteger, nullable=False, default=0),
    Column("lease_until", Double),  # a worker is reading it until then
    Column("token", Integer, nullable=False, default=0),
    Column("received_at", Double, nullable=False),
    Column("visible_at", Double),
    _words("state", UploadState),
    UniqueConstraint("campaign_id", "sha256"),
)

upload_chunks = Table(
    "upload_chunks",
    metadata,
    Column("upload_id", ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

staged_targets = Table(
    "staged_targets",
    metadata,
    Column("upload_id", Id, primary_key=True, autoincrement=False),
    Column("phone", Phone, primary_key=True),
    Column("row_no", BigInteger, nullable=False),
    Column("phone_as_given", Text),
    Column("variables", JSON, nullable=False),
)

rejects = Table(
    "rejects",
    metadata,
    Column("id", Id, primary_key=True),
    Column("upload_id", ForeignKey("uploads.id"), nullable=False),
    Column("line_no", BigInteger, nullable=False),  # 1 is the header
    Column("field", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("cells", JSON, nullable=False),  # the row as it came
    Index(None, "upload_id", "line_no"),
)

targets = Table(
    "targets",
    metadata,
    Column("id", Id, primary_key=True),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("upload_id", Id),
    Column("row_no", BigInteger),
    Column("phone", Phone, nullable=False),
    Column("phone_as_given", Text),
    Column("variables", JSON, nullable=False),
    Column("state", String(16), nullable=False, default=TargetState.WAITING),
    Column("due_at", Double),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False, default=0),  # real ones; a conflict or a refusal is none
    Column("attempts_before_round", Integer, nullable=False, default=0),  # a retry batch begins a new round
    Column("conflicts", Integer, nullable=False, default=0),
    Column("rescues", Integer, nullable=False, default=0),  # workers that died with it in hand (poison)
    Column("tally", JSON, nullable=False),  # disposition -> how many attempts of this round ended so
    Column("attempt_id", Id),  # the live attempt while `calling`
    Column("disposition", String(16)),
    Column("first_attempt_at", Double),
    Column("last_attempt_at", Double),
    Column("ended_at", Double),
    Column("unsure_since", Double),  # calls since then may have been lost by a restore: it is looked for, not claimed
    _words("state", TargetState),
    _words("disposition", Disposition),
    UniqueConstraint("campaign_id", "phone"),
    Index("ix_targets_due", "campaign_id", "due_at", postgresql_where=text("state = 'waiting'"),
          sqlite_where=text("state = 'waiting'")),
    Index("ix_targets_unsure", "due_at", postgresql_where=text(UNSURE), sqlite_where=text(UNSURE)),
    Index("ix_targets_campaign_state", "campaign_id", "state"),
    Index("ix_targets_phone", "phone"),
    postgresql_with={"fillfactor": 60},  # room on the page for a row's next version, which then costs no index entry
)  # fmt: skip

attempts = Table(
    "attempts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("target_id", ForeignKey("targets.id"), nullable=False),
    Column("campaign_id", Id, nullable=False),
    Column("line", String(100), nullable=False),
    Column("phone", Phone, nullable=False),
    Column("our_ref", String(32), nullable=False, unique=True),
    Column("token", Integer, nullable=False, default=1),  # grows with every change of hands
    Column("state", String(16), nullable=False),
    Column("caller_id", String(40)),
    Column("probe", Boolean, nullable=False, default=False),
    Column("counted", Boolean, nullable=False, default=False),  # a real attempt of the target
    Column("claimed_at", Double, nullable=False),
    Column("lease_until", Double),  # claimed, sending
    Column("sent_at", Double),  # when `sending` was committed
    Column("placed_at", Double),
    Column("next_look_at", Double),  # placed, unconfirmed
    Column("lost_until", Double),  # stands for any call since `sent_at` and before then whose row a restore has lost
    Column("looks", Integer, nullable=False, default=0),
    Column("absences", Integer, nullable=False, default=0),  # proofs of absence in a row
    Column("give_up_at", Double),  # placed, unconfirmed: then it ends unknown
    Column("call_id", String(200)),  # the provider's
    Column("ended_at", Double),
    Column("disposition", String(16)),
    Column("verdict", String(16)),  # what the answer to the originate meant
    Column("raw", Text),  # the provider's own word
    Column("reason", Text),
    Column("answered_at", Double),
    Column("talk_seconds", Integer),
    _words("state", AttemptState),
    _words("disposition", Disposition),
    _words("verdict", VerdictKind),
    Index("one_live_attempt_per_number", "phone", unique=True, postgresql_where=text(LIVE), sqlite_where=text(LIVE)),
    Index("ix_attempts_live", "line", "campaign_id", postgresql_where=text(LIVE), sqlite_where=text(LIVE)),
    Index("ix_attempts_leases", "lease_until", postgresql_where=text(LEASED), sqlite_where=text(LEASED)),
    Index("ix_attempts_looks", "line", "next_look_at", postgresql_where=text(LOOKED_AT), sqlite_where=text(LOOKED_AT)),
    Index("ix_attempts_target_id", "target_id"),
    Index("ix_attempts_campaign_id", "campaign_id"),
    Index("ix_attempts_phone_claimed_at", "phone", "claimed_at"),
    Index("ix_attempts_call_id_line", "call_id", "line", postgresql_where=text("call_id IS NOT NULL")),
)  # fmt: skip

is_live, is_leased, is_looked_at = (text(f"attempts.{states}") for states in (LIVE, LEASED, LOOKED_AT))
"""For a WHERE, beside whatever state it asks for: SQLite uses a partial index only where its condition stands in the
query word for word, and reads every attempt of a line where it does not. The index of call ids begins with the call id
for the same reason: as it knows nothing of the data, it would take any index of lines for one that finds a few."""

events = Table(
    "events",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", Double, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("campaign_id", Id),
    Column("attempt_id", Id),
    Column("line", String(100)),
    Column("detail", JSON, nullable=False),  # never a secret, never a phone number
    Index(None, "attempt_id"),
    Index(None, "campaign_id", "at"),
)

lines = Table(
    "lines",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("state", String(16), nullable=False, default=LineState.OPEN),
    Column("why", Text),
    Column("calls_per_second", Double),  # set while running; None: as configured
    Column("max_in_flight", Integer),  # set while running; None: as configured
    Column("not_before", Double, nullable=False, default=0.0),
    Column("pace_factor", Double, nullable=False, default=1.0),  # 0 < f <= 1, of calls_per_second
    Column("failures", Integer, nullable=False, default=0),  # in a row
    Column("trips", Integer, nullable=False, default=0),  # times the breaker opened without a success between
    Column("changed_at", Double, nullable=False, default=0.0),
    _words("state", LineState),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", Id, primary_key=True),
    Column("line", String(100), nullable=False),
    Column("digest", String(64), nullable=False),  # of the body; the same delivery twice is one row
    Column("headers", JSON, nullable=False),  # without Authorization and the secret's header
    Column("query", JSON, nullable=False),  # without token
    Column("body", LargeBinary, nullable=False),
    Column("verified", Boolean, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("due_at", Double),  # None: handled
    Column("tries", Integer, nullable=False, default=0),
    Column("outcome", Text),
    UniqueConstraint("line", "digest"),
    Index("ix_inbox_waiting", "line", "due_at", postgresql_where=text("due_at IS NOT NULL"),
          sqlite_where=text("due_at IS NOT NULL")),
)  # fmt: skip

retry_batches = Table(
    "retry_batches",
    metadata,
    Column("id", Id, primary_key=True),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("dispositions", JSON, nullable=False),
    Column("cron", String(100)),
    Column("zone", String(64), nullable=False),
    Column("next_fire_at", Double),  # None: nothing more to fire
    Column("made_at", Double, nullable=False),
    Index("ix_retry_batches_next", "next_fire_at"),
)

retry_fires = Table(
    "retry_fires",
    metadata,
    Column("batch_id", ForeignKey("retry_batches.id"), primary_key=True),
    Column("due_at", Double, primary_key=True),
    Column("fired_at", Double, nullable=False),
    Column("targets", Integer, nullable=False),
    Column("passed_over", Integer, nullable=False, default=0),  # asked for, but live or held
)

do_not_call = Table(
    "do_not_call",
    metadata,
    Column("phone", String(20), primary_key=True),
    Column("reason", Text, nullable=False, default=""),
    Column("added_at", Double, nullable=False),
)

erasures = Table(
    "erasures",
    metadata,
    Column("digest", Phone, primary_key=True),  # keyed; stays for ever: the number is never dialled or stored again
    Column("phone", String(20)),  # the number, until everything that holds it has been erased
    Column("requested_at", Double, nullable=False),
    Column("due_at", Double),  # when somebody looks again; None: all of it is erased
    Column("erased_at", Double),
    Column("walk", Integer, nullable=False, default=0),  # 0: rows of the number; then which table is looked through
    Column("walked", Id, nullable=False, default=0),  # to which row
    Index("ix_erasures_open", "due_at", postgresql_where=text("phone IS NOT NULL"),
          sqlite_where=text("phone IS NOT NULL")),
)  # fmt: skip

erasure_keys = Table(
    "erasure_keys",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1: all numbers are erased with one key
    Column("fingerprint", String(16), nullable=False),
    Column("since", Double, nullable=False),
    Column("missed_at", Double),  # when a process last refused to work for want of it
)

processes = Table(
    "processes",
    metadata,
    Column("name", String(200), primary_key=True),  # host:pid:start
    Column("role", String(20), nullable=False),  # dial, poll, tick
    Column("seen_at", Double, nullable=False),
    Column("clock_ahead", Double),  # seconds by which its machine's clock is ahead of the database's
)

dispatch = Table(
    "dispatch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # one row, 1
    Column("database_id", String(32), nullable=False),  # made with the row; a restored backup keeps it
    Column("reconciled_at", Double, nullable=False, default=0.0),  # when a restore was last dealt with
    Column("locked_at", Double),  # since then nothing is dialled
    Column("why", Text),
    Column("lost_at", Double),  # when a commit was made that this database does not know
    Column("asked_at", Double),  # a person asked to look for what was lost and to open it again
    Column("lost_until", Double),  # no call that the last restore lost was committed after that
)
