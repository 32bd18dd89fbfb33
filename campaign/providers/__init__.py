"""Translations: one readable file per provider's API, between our words and theirs. The only room with HTTP in it."""
