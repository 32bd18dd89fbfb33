"""Faults that a person can mend. Each carries one sentence and the exit code of the command line that it ends.

::

    CampaignError
    ├── UsageFault         2  a word of the call or a key of the configuration is wrong
    ├── NotFound           4  no such campaign, line, target, upload
    ├── NotPossible        4  exists, but not in this state
    └── OutOfReach         5  database, broker or provider did not answer
"""


class CampaignError(Exception):
    """One sentence that names the thing, the fault and the remedy. Never holds a secret or a phone number."""

    exit_code = 1


class UsageFault(CampaignError):
    exit_code = 2


class NotFound(CampaignError):
    exit_code = 4


class NotPossible(CampaignError):
    exit_code = 4


class OutOfReach(CampaignError):
    exit_code = 5
