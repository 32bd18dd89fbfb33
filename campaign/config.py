"""Settings, read once: a flag beats the environment, which beats ``campaign.toml``, which beats the default.

Every fault of every source is reported at once, each with the key, where its value came from and the remedy.
``load_lines`` and ``load_plan`` read the other two files with the same manners.
"""

import base64
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from campaign.domain.erasure import LEAST_KEY, ErasureKey
from campaign.domain.errors import UsageFault
from campaign.domain.line import Line
from campaign.faults import nearest, read_toml, refuse
from campaign.lines_file import read_lines, resolve_secret, url_fault
from campaign.plan_file import build_plan, load_plan

__all__ = [
    "KEYS", "Settings", "build_plan", "kept_erasure_key", "load_lines", "load_plan", "load_settings",
    "make_erasure_key",
]  # fmt: skip

CONFIG_NAME = "campaign.toml"
LINES_NAME = "lines.toml"
DATABASE_NAME = "campaign.sqlite"
ERASURE_KEY_NAME = "erasure.key"
SANDBOX_URL = "http://127.0.0.1:8777"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are. ``database_url`` and ``broker_url`` may hold passwords and stay out of the repr."""

    home: Path
    database_url: str = field(repr=False)
    broker_url: str | None = field(repr=False)
    lines_path: Path | None
    region: str | None
    log_format: str
    sandbox_url: str
    erasure_key: ErasureKey | None = None

    @property
    def embedded(self) -> bool:
        """No broker is configured: a command starts what it needs inside and stops it after."""
        return self.broker_url is None


class Key(NamedTuple):
    """One setting. ``read`` takes the text and the folder that relative paths start from; ValueError is the fault."""

    meaning: str
    read: Callable[[str, Path], Any]
    secret: bool = False  # the value may also be env:NAME or file:PATH


class _Given(NamedTuple):
    value: Any
    name: str  # as the person wrote it: --region, CAMPAIGN_REGION, region
    source: str
    folder: Path


def _path(text: str, folder: Path) -> Path:
    return folder / Path(text).expanduser()


def _lines_path(text: str, folder: Path) -> Path:
    path = _path(text, folder)
    if not path.is_file():
        raise ValueError(f"there is no file {path}; give the path of a lines file")
    return path


def _database_url(text: str, _folder: Path) -> str:
    if re.match(r"postgres://", text):
        raise ValueError("write postgresql+psycopg:// where it says postgres://")
    if not re.match(r"(postgresql(\+psycopg)?|sqlite(\+pysqlite)?)://", text):
        raise ValueError("not a database URL; write postgresql+psycopg://user@host/name or sqlite:///path")
    return text


def _broker_url(text: str, _folder: Path) -> str:
    if not re.match(r"rediss?://[^/]", text):
        raise ValueError("not a broker URL; write redis://host:6379/0, or rediss:// for TLS")
    return text


def _region(text: str, _folder: Path) -> str:
    from phonenumbers import SUPPORTED_REGIONS  # 50 ms, and most commands name no region

    region = text.upper()
    if region not in SUPPORTED_REGIONS:
        hint = "write GB for the United Kingdom" if region == "UK" else "write two letters (ISO 3166-1), such as US"
        raise ValueError(f"not a region; {hint}")
    return region


def _log_format(text: str, _folder: Path) -> str:
    if text not in ("text", "json"):
        raise ValueError("write text or json")
    return text


def _sandbox_url(text: str, _folder: Path) -> str:
    fault = url_fault(text, allow_insecure=True)
    if fault:
        raise ValueError(fault)
    return text


def _erasure_key(text: str, _folder: Path) -> ErasureKey:
    if len(text) < LEAST_KEY:
        raise ValueError(f"too short for a key; write {LEAST_KEY} characters or more that nobody can guess")
    return ErasureKey(text)


KEYS: Mapping[str, Key] = {
    "home": Key("where embedded data live", _path),
    "database_url": Key("SQLAlchemy URL of the database", _database_url, secret=True),
    "broker_url": Key("Redis URL: broker and pace", _broker_url, secret=True),
    "lines": Key("path of the lines file", _lines_path),
    "region": Key("region of numbers written without a country code", _region),
    "log_format": Key("text or json", _log_format),
    "erasure_key": Key("key with which erased numbers are hashed", _erasure_key, secret=True),
    "sandbox_url": Key("base URL of the built-in line `sandbox`", _sandbox_url),
}
"""Every setting, by its name in ``campaign.toml``. In the environment it is CAMPAIGN_ and the name in capitals."""


def load_settings(
    flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path, *, terminal: bool | None = None
) -> Settings:
    """``flags`` hold names of ``KEYS`` and ``config``, the path of the TOML file; None is not given.

    A path in the TOML file starts from that file's folder, any other from ``cwd``. ``terminal`` decides the default
    of ``log_format``; None looks at stderr. Raises UsageFault.
    """
    faults: list[str] = []
    given = _given(flags, environ, cwd, faults)
    values = {name: _value(name, one, environ, faults) for name, one in given.items()}
    refuse(faults)
    values.setdefault("home", _data_folder(environ) / "campaign")
    values.setdefault("erasure_key", kept_erasure_key(values["home"]))
    return _settings(values, cwd, sys.stderr.isatty() if terminal is None else terminal)


def load_lines(
    settings: Settings, environ: Mapping[str, str], *, providers: Mapping[str, str | None] | None = None
) -> dict[str, Line]:
    """Every line by name, its secrets resolved; ``sandbox`` is always there. Raises UsageFault with all faults.

    ``providers`` maps the known kinds to their default base URLs; with it an unknown kind is refused by name and
    ``base_url`` may be left out where there is a default. What only a provider can judge (its options, its
    credentials' names) is the composition root's to check.
    """
    return read_lines(settings.lines_path, settings.sandbox_url, environ, providers)


def _settings(values: Mapping[str, Any], cwd: Path, terminal: bool) -> Settings:
    home = values["home"]
    beside = cwd / LINES_NAME
    return Settings(
        home=home,
        database_url=values.get("database_url") or f"sqlite:///{home / DATABASE_NAME}",
        broker_url=values.get("broker_url"),
        lines_path=values.get("lines") or (beside if beside.is_file() else None),
        region=values.get("region"),
        log_format=values.get("log_format") or ("text" if terminal else "json"),
        sandbox_url=values.get("sandbox_url") or SANDBOX_URL,
        erasure_key=values["erasure_key"],
    )


def kept_erasure_key(home: Path) -> ErasureKey | None:
    """The key that was made for this machine, if one was. Raises UsageFault for one that cannot be read."""
    path = home / ERASURE_KEY_NAME
    if not os.path.lexists(path):
        return None
    try:
        return _erasure_key(resolve_secret(f"file:{path}", home, {}), home)
    except ValueError as error:
        raise UsageFault(f"the erasure key {path}: {error}") from None


def make_erasure_key(home: Path) -> ErasureKey:
    """This machine's key, made where there is none: a file of ``home`` that only its owner reads. Raises UsageFault."""
    path = home / ERASURE_KEY_NAME
    if (kept := kept_erasure_key(home)) is not None:
        return kept
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=home, prefix=ERASURE_KEY_NAME) as fresh:  # made with mode 0600
            fresh.write(base64.urlsafe_b64encode(os.urandom(32)).decode())
            fresh.flush()
            os.fsync(fresh.fileno())
            with suppress(FileExistsError):  # whole or not at all, and the first one stays
                os.link(fresh.name, path)
    except OSError as error:
        raise UsageFault(f"the erasure key {path} cannot be written ({error.strerror})") from None
    made = kept_erasure_key(home)
    assert made is not None, "it is never removed"
    return made


def _data_folder(environ: Mapping[str, str]) -> Path:
    """The platform's user data folder."""
    user = Path(environ.get("HOME") or Path.home())
    if sys.platform == "darwin":
        return user / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or user / "AppData" / "Local")
    return Path(environ.get("XDG_DATA_HOME") or user / ".local" / "share")


def _given(flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path, faults: list[str]) -> dict[str, _Given]:
    """What each key was given, the strongest source last."""
    given = _from_file(flags.get("config"), cwd, faults)
    for variable, value in environ.items():
        name = variable.removeprefix("CAMPAIGN_").lower()
        if variable.startswith("CAMPAIGN_") and variable.isupper():
            if name in KEYS:
                if value.strip():
                    given[name] = _Given(value, variable, "from the environment", cwd)
            else:
                _suspect(variable, faults)
    for name in KEYS:
        if flags.get(name) is not None:
            given[name] = _Given(flags[name], f"--{name.replace('_', '-')}", "on the command line", cwd)
    return given


def _suspect(variable: str, faults: list[str]) -> None:
    """A variable of ours that is spelt almost right would else be passed over in silence."""
    known = [f"CAMPAIGN_{name.upper()}" for name in KEYS]
    close = get_close_matches(variable, known, n=1, cutoff=0.9)
    if close:
        faults.append(f"{variable} from the environment: unknown; did you mean {close[0]}?")


def _from_file(config: Any, cwd: Path, faults: list[str]) -> dict[str, _Given]:
    path = _path(str(config), cwd) if config is not None else cwd / CONFIG_NAME
    if config is None and not path.is_file():
        return {}
    try:
        document = read_toml(path, "configuration")
    except UsageFault as fault:
        faults.append(str(fault))
        return {}
    unknown = [key for key in document if key not in KEYS]
    faults += [f"{key} in {path}: unknown key; {nearest(key, KEYS)}" for key in unknown]
    return {key: _Given(document[key], key, f"in {path}", path.parent) for key in document if key in KEYS}


def _value(name: str, given: _Given, environ: Mapping[str, str], faults: list[str]) -> Any:
    key = KEYS[name]
    try:
        if not isinstance(given.value, (str, Path)) or not str(given.value).strip():
            raise ValueError("it should be text; put it into quotation marks")
        text = str(given.value).strip()
        if key.secret and text.startswith(("env:", "file:")):
            text = resolve_secret(text, given.folder, environ)
        return key.read(text, given.folder)
    except ValueError as error:
        faults.append(f"{given.name} {given.source}: {error}")
        return None
