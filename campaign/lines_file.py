"""``lines.toml``: one table per line. A secret in it is only ever a reference, ``env:NAME`` or ``file:PATH``.

The line ``sandbox`` exists without a file; a table ``[lines.sandbox]`` changes single keys of it.
"""

import ipaddress
import logging
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from campaign.domain.line import Line
from campaign.faults import in_words, merged, nearest, read_toml, refuse

log = logging.getLogger("campaign.config")

SANDBOX = "sandbox"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_MOUNTED = Path("/run/secrets")  # a container engine mounts secrets here, readable by all of the container


def sandbox_table(url: str) -> dict[str, Any]:
    """The built-in line: generous limits and quick polls, for a simulator that answers in milliseconds."""
    return {
        "provider": SANDBOX,
        "base_url": url,
        "allow_insecure": True,  # no secret travels to a simulator, and in a compose network it has a name
        "calls_per_second": 40.0,
        "max_in_flight": 60,
        "caller_ids": ["+12025550100"],
        "poll": {"first_after": "500ms", "every": "500ms", "at_most_every": "5s", "give_up_after": "10m"},
        "timeout": "10s",
    }


def read_lines(
    path: Path | None, sandbox_url: str, environ: Mapping[str, str], providers: Mapping[str, str | None] | None
) -> dict[str, Line]:
    """Every line by name. Raises UsageFault with every fault of the file at once.

    ``providers`` maps each known kind to its default base URL, if it has one; None: any kind, base_url required.
    """
    document = read_toml(path, "lines file") if path else {}
    where, faults = str(path), _unknown_at_top(document, str(path))
    tables = _tables(document, where, faults)
    tables[SANDBOX] = _sandbox(tables.get(SANDBOX), sandbox_url)
    lines: dict[str, Line] = {}
    for name, table in tables.items():
        reader = _LineReader(name, table, path.parent if path else Path(), environ, providers)
        line = reader.read()
        faults += [f"lines.{name}{key} in {where}: {fault}" for key, fault in reader.faults]
        if line is not None:
            lines[name] = line
    refuse(faults)
    return lines


def _unknown_at_top(document: Mapping[str, Any], where: str) -> list[str]:
    unknown = [key for key in document if key != "lines"]
    return [f"{key} in {where}: unknown key; a line is a table, write [lines.{key}]" for key in unknown]


def _tables(document: Mapping[str, Any], where: str, faults: list[str]) -> dict[str, dict[str, Any]]:
    lines = document.get("lines", {})
    if not isinstance(lines, dict):
        faults.append(f"lines in {where}: it should hold one table per line, such as [lines.recall]")
        return {}
    wrong = [name for name, table in lines.items() if not isinstance(table, dict)]
    faults += [f"lines.{name} in {where}: it should be a table; write [lines.NAME] above its keys" for name in wrong]
    return {name: table for name, table in lines.items() if name not in wrong}


def _sandbox(table: dict[str, Any] | None, url: str) -> dict[str, Any]:
    if table is None:
        return sandbox_table(url)
    return merged(sandbox_table(url), table) if table.get("provider", SANDBOX) == SANDBOX else table


class _LineReader:
    """One table and what is wrong with it."""

    def __init__(
        self,
        name: str,
        table: Mapping[str, Any],
        folder: Path,
        environ: Mapping[str, str],
        providers: Mapping[str, str | None] | None,
    ) -> None:
        self.faults: list[tuple[str, str]] = []  # (".key" or "", fault and remedy)
        self._name, self._table, self._folder = name, dict(table), folder
        self._environ, self._providers = environ, providers

    def read(self) -> Line | None:
        if not _NAME.fullmatch(self._name):
            self._fault("", "a line's name is letters, digits, - and _, at most 100; rename the table")
        self._check_provider()
        self._check_base_url()
        values = {**self._table, "name": self._name, "credentials": self._credentials()}
        if "name" in self._table:
            self._fault("name", "unknown key; a line's name is that of its table")
        if isinstance(values.get("ca_file"), str):
            values["ca_file"] = self._certificates(values["ca_file"])
        try:
            return Line.model_validate(values)
        except ValidationError as error:
            said = {key for key, _ in self.faults}
            self.faults += [(f".{k}", fault) for k, fault in in_words(error, Line) if f".{k}" not in said]
            return None

    def _fault(self, key: str, sentence: str) -> None:
        self.faults.append((f".{key}" if key else "", sentence))

    def _check_provider(self) -> None:
        kind = self._table.get("provider")
        if self._providers is None or not isinstance(kind, str):
            return
        if kind not in self._providers:
            self._fault("provider", f"unknown provider {kind!r}; {nearest(kind, self._providers)}")
            self._table.setdefault("base_url", "https://unknown.invalid")  # whether one is needed, nobody can tell
        elif self._providers[kind] is not None:
            self._table.setdefault("base_url", self._providers[kind])

    def _check_base_url(self) -> None:
        url = self._table.get("base_url")
        if isinstance(url, str):
            fault = url_fault(url, allow_insecure=self._table.get("allow_insecure") is True)
            if fault:
                self._fault("base_url", fault)

    def _credentials(self) -> dict[str, str]:
        table = self._table.get("credentials", {})
        if not isinstance(table, dict):
            self._fault("credentials", 'it should be a table of references, such as { api_key = "env:NAME" }')
            return {}
        resolved = {key: self._secret(f"credentials.{key}", value) for key, value in table.items()}
        return {key: value for key, value in resolved.items() if value is not None}

    def _secret(self, key: str, reference: Any) -> str | None:
        try:
            return resolve_secret(reference, self._folder, self._environ)
        except ValueError as error:
            self._fault(key, str(error))
            return None

    def _certificates(self, given: str) -> str:
        path = self._folder / Path(given).expanduser()
        if not path.is_file():
            self._fault("ca_file", f"there is no file {path}; give the path of a PEM file")
        return str(path)


def resolve_secret(reference: Any, folder: Path, environ: Mapping[str, str]) -> str:
    """The clear text behind ``env:NAME`` or ``file:PATH`` (from ``folder``). Raises ValueError and never echoes it."""
    kind, _, rest = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    if kind == "env" and rest:
        return _from_environment(rest, environ)
    if kind == "file" and rest:
        return _from_file(folder / Path(rest).expanduser())
    raise ValueError("a secret is only ever a reference, and this is none; write env:NAME or file:PATH")


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("what follows env: is not the name of an environment variable; write it like env:API_KEY")
    if not environ.get(name, "").strip():
        raise ValueError(f"the environment variable {name} is not set; export it before the command starts")
    return environ[name].strip()


def _from_file(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise ValueError(f"the file {path} cannot be read ({why}); write the secret into it") from None
    if not text:
        raise ValueError(f"the file {path} is empty; write the secret into it")
    if mode & stat.S_IROTH and _MOUNTED not in path.parents:
        log.warning("every user of this machine can read the secret in %s; chmod 600 it", path)
    return text


def url_fault(url: str, *, allow_insecure: bool = False) -> str | None:
    """The fault of a base URL, with the remedy. It does not show the URL, which may hold a password."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return "not a URL; write it like https://api.example.com"
    if parts.scheme not in ("http", "https") or not host:
        return "not a web address; write it like https://api.example.com"
    if parts.username is not None or parts.password is not None:
        return "a user or password stands in the address; put it into credentials"
    if parts.query or parts.fragment:
        return "it must end before any ? or #; options belong into the options table"
    if _nowhere(host):
        return "it points at a link-local, multicast or unspecified address; give the provider's own host"
    if parts.scheme == "http" and not allow_insecure and not _loopback(host):
        return (
            "plain http would send the key in the clear; write https, or allow_insecure = true for a network you trust"
        )
    return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _nowhere(host: str) -> bool:
    """Where cloud machines keep their own credentials, and what is no host at all."""
    address = _address(host)
    return address is not None and (address.is_link_local or address.is_multicast or address.is_unspecified)
