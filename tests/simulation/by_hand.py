"""What a person decides: doubts, held targets, retry batches. Each is one transaction."""

from campaign.domain.dispositions import Disposition
from campaign.domain.states import AttemptState, TargetState
from campaign.policies.endings import waiting
from tests.simulation.database import AttemptRow, TargetRow
from tests.simulation.protocol import Protocol


def settle_by_hand(protocol: Protocol, row: AttemptRow, disposition: Disposition | None) -> None:
    """Of a held or unconfirmed attempt: ``disposition`` ends its target, None tries again (and is signed for)."""
    now, value, target = protocol.clock.now, row.value, row.target
    word = disposition or Disposition.UNKNOWN
    closed = value._replace(state=AttemptState.ENDED, token=value.token + 1, next_look_at=None, lease_until=None,
                     ended_at=value.ended_at or now, disposition=word, counted=True, reason="decided by a person"
                     )  # fmt: skip
    protocol.write_attempt(row, closed)
    counted = [r for r in protocol.database.attempts.values() if r.target is target and r.value.counted]
    sent = [r.value.sent_at for r in counted if r.value.sent_at is not None]
    state = TargetState.WAITING if disposition is None else TargetState.DONE
    after = target.value._replace(state=state, due_at=now if disposition is None else None, attempt_id=None,
                    conflicts=0, rescues=0, attempts=len(counted), disposition=word,
                    last_attempt_at=max(sent, default=None), reason="decided by a person"
                    )  # fmt: skip
    target.signed += disposition is None
    for same in protocol.database.targets.values():
        same.by_hand = same.by_hand or same.phone == target.phone
    protocol.write_target(target, after)
    protocol.oracle.consistent(target)


def release_by_hand(protocol: Protocol, target: TargetRow) -> None:
    """A held target without a doubtful attempt: try again."""
    target.signed += 1
    protocol.write_target(target, waiting(target.value, protocol.clock.now, "retry")._replace(conflicts=0, rescues=0))


def begin_round(protocol: Protocol, words: frozenset[Disposition]) -> int:
    begun = 0
    for target in protocol.database.targets.values():
        value = target.value
        if value.state is TargetState.DONE and value.disposition in words:
            begun += 1
            target.signed += target.campaign.plan.max_attempts
            again = waiting(value, protocol.clock.now, "retry batch")
            fresh = again._replace(tally={}, conflicts=0, rescues=0, attempts_before_round=value.attempts)
            protocol.write_target(target, fresh)
    return begun
