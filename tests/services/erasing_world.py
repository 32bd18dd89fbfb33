"""What the tests of erasing share: a key, a provider that only tells, and the engine's services as plain functions."""

import asyncio
import io
import json
from itertools import count
from typing import Any

from pydantic import SecretStr

from campaign.domain.calls import CallReport, ReportStatus, WebhookDelivery
from campaign.domain.dispositions import Disposition
from campaign.domain.erasure import ErasureKey
from campaign.intake.reading import Reading
from campaign.policies.events import Event, Reported
from campaign.policies.looking import LookRules
from campaign.providers.port import Capabilities
from campaign.services import campaigns, claiming, uploads, webhooks
from campaign.services.claiming import ClaimedCall, Wish
from campaign.services.recording import record
from campaign.services.webhooks import InboxReader
from campaign.storage.engine import Store
from tests.engine import LINE, outside

KEY = ErasureKey("a key that every process has")
OTHER = ErasureKey("a key that somebody made up")
RULES = {LINE.name: LookRules(poll=LINE.poll)}
PUSHED = LINE.model_copy(update={"credentials": {"webhook_secret": SecretStr("s3cret-canary")}})

_refs = count(1)


class Telling:
    """Only pushes: ``{"id": …, "end": …, "to": …}``."""

    capabilities = Capabilities(poll=False)

    def read_webhook(self, delivery: WebhookDelivery) -> list[CallReport]:
        said = json.loads(delivery.body)
        ended = Disposition(said["end"])
        return [CallReport(ReportStatus.FINAL, call_id=said.get("id"), phone=said.get("to"), disposition=ended)]

    async def identify(self, report: CallReport) -> CallReport:
        return report


def send_file(store: Store, name: str, content: str) -> int:
    """Its bytes are stored; nobody has read it yet."""
    campaign = campaigns.get(store, name)
    return uploads.receive(store, campaign.id, io.BytesIO(content.encode()), "list.csv", Reading(region="US")).id


def uploaded(store: Store, name: str, content: str, key: ErasureKey | None = KEY) -> uploads.Progress:
    return uploads.read_upload(store, send_file(store, name, content), key=key)


def claimed(store: Store, key: ErasureKey | None = KEY) -> list[ClaimedCall]:
    return list(claiming.claim(store, LINE, Wish(10), lambda: f"{next(_refs):032x}", key=key).calls)


def confirmed(store: Store, calls: list[ClaimedCall]) -> list[ClaimedCall]:
    return claiming.confirm(store, LINE, calls, 10.0, RULES, key=KEY)


def told(store: Store, attempt_id: int, event: Event) -> None:
    record(store, RULES, [(attempt_id, event)])


def ended(disposition: Disposition = Disposition.NO_ANSWER, **words: Any) -> Reported:
    return Reported(CallReport(ReportStatus.FINAL, disposition=disposition, **words))


def received(store: Store, *bodies: dict[str, str]) -> None:
    for body in bodies:
        delivery = WebhookDelivery({}, {"from": body.get("to", "")}, json.dumps(body).encode(), 0.0, verified=True)
        webhooks.receive(store, PUSHED, delivery)


def deliver(store: Store, *bodies: dict[str, str]) -> None:
    """Store deliveries and handle what is due."""
    received(store, *bodies)

    async def handle() -> None:
        here = outside(store, RULES, erasure_key=KEY)
        await InboxReader(PUSHED, Telling(), here).run(1.0)  # type: ignore[arg-type]

    asyncio.run(handle())
