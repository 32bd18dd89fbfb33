"""Killing things on purpose, and the ledger that says whether anybody was rung twice or forgotten."""
