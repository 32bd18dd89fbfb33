"""Where a worker's memory of its last commit outlives it: a file in CAMPAIGN_HOME, and Redis, where others find it at
once.

The strictest counts: one witness is enough to notice that the database has lost something. A Redis that was emptied, or
a home that was thrown away, is a witness less and no harm.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from campaign.domain.errors import OutOfReach
from campaign.domain.restores import Witness
from campaign.services.restoring import Unreadable

KEY = "campaign:witnesses:{}"
KEPT = 16


@dataclass(frozen=True, slots=True)
class SideFile:
    """``witness-<database>.json`` in ``home``, replaced as a whole."""

    home: Path

    def read(self, database_id: str) -> list[Witness]:
        path = self._path(database_id)
        try:
            return [_witness(path.read_bytes())]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise Unreadable(
                f"the side file {path} cannot be read ({_said(error)}), so nobody can tell whether the database is an "
                "older backup; it is set aside if it can be, else remove it"
            ) from None

    def write(self, witness: Witness) -> None:
        path = self._path(witness.database_id)
        new = path.with_suffix(f".{os.getpid()}.new")
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            with new.open("w") as file:
                json.dump(asdict(witness), file)
                file.flush()
                os.fsync(file.fileno())  # an empty file after a power cut would be one that cannot be read
            new.replace(path)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise OutOfReach(f"the side file {path} cannot be written ({_said(error)})") from None

    def set_aside(self, database_id: str) -> None:
        path = self._path(database_id)
        try:
            path.replace(path.with_suffix(".unreadable"))
        except OSError:
            return  # it stays, and the sentence that locks dispatch names it

    def _path(self, database_id: str) -> Path:
        return self.home / f"witness-{database_id}.json"


@dataclass(frozen=True, slots=True)
class InRedis:
    """A list per database: the last commits of whichever process, the latest first. More than one, since a database
    may keep the latest and have lost the one before, which was committed at the same time."""

    redis: "Redis"

    def read(self, database_id: str) -> list[Witness]:
        key = KEY.format(database_id)
        try:
            stored: Any = self.redis.lrange(key, 0, KEPT - 1)
        except RedisError as error:
            if str(error).startswith("WRONGTYPE"):
                stored = [b""]
            else:
                raise OutOfReach(f"Redis cannot be asked for the last commits ({type(error).__name__})") from None
        try:
            return [_witness(each) for each in stored]
        except ValueError as error:
            raise Unreadable(
                f"the key {key} in Redis is no list of witnesses ({_said(error)}), so nobody can tell whether the "
                "database is an older backup; it is removed"
            ) from None

    def write(self, witness: Witness) -> None:
        key = KEY.format(witness.database_id)
        try:
            with self.redis.pipeline(transaction=False) as pipe:
                pipe.lpush(key, json.dumps(asdict(witness)))
                pipe.ltrim(key, 0, KEPT - 1)
                pipe.execute()
        except RedisError as error:
            raise OutOfReach(f"the last commit cannot be written to Redis ({type(error).__name__})") from None

    def set_aside(self, database_id: str) -> None:
        try:
            self.redis.delete(KEY.format(database_id))
        except RedisError:
            return  # it is found again, and locks again


def _witness(stored: bytes) -> Witness:
    """Raises ValueError."""
    told: Any = json.loads(stored)
    if not isinstance(told, Mapping):
        raise ValueError("not an object")
    try:
        return Witness(
            str(told["database_id"]), float(told["reconciled_at"]), str(told["our_ref"]), float(told["sent_at"])
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{type(error).__name__} in it") from None


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "not what we write there"
