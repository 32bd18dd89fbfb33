"""An outbound call campaign runner: a list of numbers in, one ring per intent, a result for every number out.

The rooms, and the only directions in which imports may run (``tests/test_arrows.py`` holds them)::

    domain  <-  policies, intake, providers, storage  <-  services  <-  cli, console, workers

``domain`` holds the words, ``policies`` the decisions, ``intake`` reads files, ``providers`` translate, ``storage``
remembers (the only SQL), ``services`` are the use cases; ``cli``, ``console`` and ``workers`` are edges that nothing
imports.
"""

import zoneinfo

__version__ = "0.1.0"

# Calling hours must not depend on what a machine happens to have: zones come from the pinned package tzdata alone.
# Python would look at the machine's own first, which nobody upgrades with us and whose age `doctor` could not tell.
zoneinfo.reset_tzpath(to=())
