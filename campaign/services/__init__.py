"""Use cases, one file each: read facts, let a policy decide, write what it decided."""
