"""The sandbox: five providers and our own dialect as one real HTTP server, with a ledger of what really happened.

Start it in this process's background with :func:`running_simulator`, as a process of its own with
:func:`simulator_process`, or from a shell with ``python -m campaign.providers.simulator``. ``docs/sandbox.md`` explains
every option and fault. Nothing here is imported by a real provider's file, and nothing here imports one.
"""

from campaign.providers.simulator.handle import SimulatorHandle, running_simulator, simulator_process
from campaign.providers.simulator.ledger import most_in_window
from campaign.providers.simulator.options import SimulatorOptions, simulator_options
from campaign.providers.simulator.server import serve

__all__ = [
    "SimulatorHandle",
    "SimulatorOptions",
    "most_in_window",
    "running_simulator",
    "serve",
    "simulator_options",
    "simulator_process",
]
