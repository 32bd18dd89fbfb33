"""How many calls a second one worker carries, beside the bare HTTP client and beside the usual designs."""
