"""One file per wire contract, each a translation between a provider's words and the exchange."""

from campaign.providers.simulator.dialects.dialect import Dialect
from campaign.providers.simulator.dialects.knovvu import Knovvu
from campaign.providers.simulator.dialects.mobtexting import MobTexting
from campaign.providers.simulator.dialects.netsapiens import NetSapiens
from campaign.providers.simulator.dialects.nexbro import Nexbro
from campaign.providers.simulator.dialects.pathors import Pathors
from campaign.providers.simulator.dialects.sandbox import Sandbox

DIALECT_CLASSES: tuple[type[Dialect], ...] = (Sandbox, Pathors, NetSapiens, Nexbro, MobTexting, Knovvu)

__all__ = ["DIALECT_CLASSES"]
