"""Decisions: pure functions. ``now`` and every fact are arguments; the answer is a value that a service acts on."""
