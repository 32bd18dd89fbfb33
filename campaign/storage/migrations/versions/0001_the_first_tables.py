"""the first tables"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("line", sa.String(length=100), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("region", sa.String(length=2), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "state IN ('draft', 'running', 'paused', 'completed', 'canceled')",
            name=op.f("ck_campaigns_state_is_a_word"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaigns")),
        sa.UniqueConstraint("name", name=op.f("uq_campaigns_name")),
    )
    op.create_index(op.f("ix_campaigns_line_state"), "campaigns", ["line", "state"], unique=False)
    op.create_table(
        "dispatch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("database_id", sa.String(length=32), nullable=False),
        sa.Column("reconciled_at", sa.Double(), nullable=False),
        sa.Column("locked_at", sa.Double(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("lost_at", sa.Double(), nullable=True),
        sa.Column("asked_at", sa.Double(), nullable=True),
        sa.Column("lost_until", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispatch")),
    )
    op.create_table(
        "do_not_call",
        sa.Column("phone", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("added_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("phone", name=op.f("pk_do_not_call")),
    )
    op.create_table(
        "erasure_keys",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fingerprint", sa.String(length=16), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("missed_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasure_keys")),
    )
    op.create_table(
        "erasures",
        sa.Column("digest", sa.String(length=100), nullable=False),
        sa.Column("phone", sa.String(length=20), nullable=True),
        sa.Column("requested_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=True),
        sa.Column("erased_at", sa.Double(), nullable=True),
        sa.Column("walk", sa.Integer(), nullable=False),
        sa.Column("walked", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_erasures")),
    )
    op.create_index(
        "ix_erasures_open",
        "erasures",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("phone IS NOT NULL"),
        sqlite_where=sa.text("phone IS NOT NULL"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("campaign_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("attempt_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("line", sa.String(length=100), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_attempt_id"), "events", ["attempt_id"], unique=False)
    op.create_index(op.f("ix_events_campaign_id_at"), "events", ["campaign_id", "at"], unique=False)
    op.create_table(
        "inbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("line", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("query", sa.JSON(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox")),
        sa.UniqueConstraint("line", "digest", name=op.f("uq_inbox_line_digest")),
    )
    op.create_index(
        "ix_inbox_waiting",
        "inbox",
        ["line", "due_at"],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
        sqlite_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "lines",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("calls_per_second", sa.Double(), nullable=True),
        sa.Column("max_in_flight", sa.Integer(), nullable=True),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.Column("pace_factor", sa.Double(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("trips", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "state IN ('open', 'slowed', 'silent', 'broken', 'probing')", name=op.f("ck_lines_state_is_a_word")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lines")),
    )
    op.create_table(
        "processes",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("clock_ahead", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_processes")),
    )
    op.create_table(
        "staged_targets",
        sa.Column(
            "upload_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("phone", sa.String(length=100), nullable=False),
        sa.Column("row_no", sa.BigInteger(), nullable=False),
        sa.Column("phone_as_given", sa.Text(), nullable=True),
        sa.Column("variables", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "phone", name=op.f("pk_staged_targets")),
    )
    op.create_table(
        "retry_batches",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("campaign_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("dispositions", sa.JSON(), nullable=False),
        sa.Column("cron", sa.String(length=100), nullable=True),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("next_fire_at", sa.Double(), nullable=True),
        sa.Column("made_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name=op.f("fk_retry_batches_campaign_id_campaigns")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retry_batches")),
    )
    op.create_index("ix_retry_batches_next", "retry_batches", ["next_fire_at"], unique=False)
    op.create_table(
        "targets",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("campaign_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("upload_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("row_no", sa.BigInteger(), nullable=True),
        sa.Column("phone", sa.String(length=100), nullable=False),
        sa.Column("phone_as_given", sa.Text(), nullable=True),
        sa.Column("variables", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("attempts_before_round", sa.Integer(), nullable=False),
        sa.Column("conflicts", sa.Integer(), nullable=False),
        sa.Column("rescues", sa.Integer(), nullable=False),
        sa.Column("tally", sa.JSON(), nullable=False),
        sa.Column("attempt_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("disposition", sa.String(length=16), nullable=True),
        sa.Column("first_attempt_at", sa.Double(), nullable=True),
        sa.Column("last_attempt_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("unsure_since", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "disposition IN ('answered', 'voicemail', 'busy', 'no_answer', 'rejected', 'invalid_number', 'unavailable', 'canceled', 'error', 'unknown')",
            name=op.f("ck_targets_disposition_is_a_word"),
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'calling', 'held', 'done', 'skipped')", name=op.f("ck_targets_state_is_a_word")
        ),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name=op.f("fk_targets_campaign_id_campaigns")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_targets")),
        sa.UniqueConstraint("campaign_id", "phone", name=op.f("uq_targets_campaign_id_phone")),
        postgresql_with={"fillfactor": 60},
    )
    op.create_index("ix_targets_campaign_state", "targets", ["campaign_id", "state"], unique=False)
    op.create_index(
        "ix_targets_due",
        "targets",
        ["campaign_id", "due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting'"),
        sqlite_where=sa.text("state = 'waiting'"),
    )
    op.create_index("ix_targets_phone", "targets", ["phone"], unique=False)
    op.create_index(
        "ix_targets_unsure",
        "targets",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'waiting' AND unsure_since IS NOT NULL"),
        sqlite_where=sa.text("state = 'waiting' AND unsure_since IS NOT NULL"),
    )
    op.create_table(
        "uploads",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("campaign_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("reading", sa.JSON(), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("bytes_read", sa.BigInteger(), nullable=False),
        sa.Column("rows_read", sa.BigInteger(), nullable=False),
        sa.Column("accepted", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("visible_at", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "state IN ('receiving', 'received', 'reading', 'visible', 'failed')",
            name=op.f("ck_uploads_state_is_a_word"),
        ),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name=op.f("fk_uploads_campaign_id_campaigns")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_uploads")),
        sa.UniqueConstraint("campaign_id", "sha256", name=op.f("uq_uploads_campaign_id_sha256")),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("target_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("campaign_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("line", sa.String(length=100), nullable=False),
        sa.Column("phone", sa.String(length=100), nullable=False),
        sa.Column("our_ref", sa.String(length=32), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("caller_id", sa.String(length=40), nullable=True),
        sa.Column("probe", sa.Boolean(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("claimed_at", sa.Double(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("sent_at", sa.Double(), nullable=True),
        sa.Column("placed_at", sa.Double(), nullable=True),
        sa.Column("next_look_at", sa.Double(), nullable=True),
        sa.Column("lost_until", sa.Double(), nullable=True),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("absences", sa.Integer(), nullable=False),
        sa.Column("give_up_at", sa.Double(), nullable=True),
        sa.Column("call_id", sa.String(length=200), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("disposition", sa.String(length=16), nullable=True),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("raw", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("answered_at", sa.Double(), nullable=True),
        sa.Column("talk_seconds", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "disposition IN ('answered', 'voicemail', 'busy', 'no_answer', 'rejected', 'invalid_number', 'unavailable', 'canceled', 'error', 'unknown')",
            name=op.f("ck_attempts_disposition_is_a_word"),
        ),
        sa.CheckConstraint(
            "state IN ('claimed', 'sending', 'placed', 'unconfirmed', 'ended', 'refused', 'released', 'not_placed')",
            name=op.f("ck_attempts_state_is_a_word"),
        ),
        sa.CheckConstraint(
            "verdict IN ('placed', 'conflict', 'throttled', 'refused_call', 'bad_number', 'line_not_ready', 'pause', 'not_sent', 'unconfirmed')",
            name=op.f("ck_attempts_verdict_is_a_word"),
        ),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_attempts_target_id_targets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("our_ref", name=op.f("uq_attempts_our_ref")),
    )
    op.create_index(
        "ix_attempts_call_id_line",
        "attempts",
        ["call_id", "line"],
        unique=False,
        postgresql_where=sa.text("call_id IS NOT NULL"),
    )
    op.create_index("ix_attempts_campaign_id", "attempts", ["campaign_id"], unique=False)
    op.create_index(
        "ix_attempts_leases",
        "attempts",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state IN ('claimed', 'sending')"),
        sqlite_where=sa.text("state IN ('claimed', 'sending')"),
    )
    op.create_index(
        "ix_attempts_live",
        "attempts",
        ["line", "campaign_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('claimed', 'placed', 'sending', 'unconfirmed')"),
        sqlite_where=sa.text("state IN ('claimed', 'placed', 'sending', 'unconfirmed')"),
    )
    op.create_index(
        "ix_attempts_looks",
        "attempts",
        ["line", "next_look_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('placed', 'unconfirmed')"),
        sqlite_where=sa.text("state IN ('placed', 'unconfirmed')"),
    )
    op.create_index("ix_attempts_phone_claimed_at", "attempts", ["phone", "claimed_at"], unique=False)
    op.create_index("ix_attempts_target_id", "attempts", ["target_id"], unique=False)
    op.create_index(
        "one_live_attempt_per_number",
        "attempts",
        ["phone"],
        unique=True,
        postgresql_where=sa.text("state IN ('claimed', 'placed', 'sending', 'unconfirmed')"),
        sqlite_where=sa.text("state IN ('claimed', 'placed', 'sending', 'unconfirmed')"),
    )
    op.create_table(
        "rejects",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("upload_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("line_no", sa.BigInteger(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("cells", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["upload_id"], ["uploads.id"], name=op.f("fk_rejects_upload_id_uploads")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejects")),
    )
    op.create_index(op.f("ix_rejects_upload_id_line_no"), "rejects", ["upload_id", "line_no"], unique=False)
    op.create_table(
        "retry_fires",
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("fired_at", sa.Double(), nullable=False),
        sa.Column("targets", sa.Integer(), nullable=False),
        sa.Column("passed_over", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["retry_batches.id"], name=op.f("fk_retry_fires_batch_id_retry_batches")),
        sa.PrimaryKeyConstraint("batch_id", "due_at", name=op.f("pk_retry_fires")),
    )
    op.create_table(
        "upload_chunks",
        sa.Column("upload_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["upload_id"], ["uploads.id"], name=op.f("fk_upload_chunks_upload_id_uploads"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("upload_id", "position", name=op.f("pk_upload_chunks")),
    )
