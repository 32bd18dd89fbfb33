"""Faults of the configuration in a person's words: the key, where its value came from, the remedy; all at once.

Nothing here ever shows a value that it has not been told is harmless: a password in the wrong place stays unseen.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from campaign.domain.errors import UsageFault

_QUOTED = re.compile(r"'([^']+)'")


def refuse(faults: Sequence[str]) -> None:
    """Raises one UsageFault that carries every fault, or returns where there is none."""
    if len(faults) == 1:
        raise UsageFault(faults[0])
    if faults:
        raise UsageFault("\n  ".join([f"{len(faults)} faults in the configuration:", *faults]))


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The document in ``path``. Raises UsageFault where it cannot be read or is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise UsageFault(f"{path}: not valid TOML ({error}); correct that place in the {what}") from None
    except UnicodeDecodeError:
        raise UsageFault(f"{path}: not UTF-8 text; save the {what} as UTF-8") from None
    except FileNotFoundError:
        raise UsageFault(f"{path}: there is no such file; give the path of the {what}") from None
    except OSError as error:
        raise UsageFault(f"{path}: cannot be read ({error.strerror}); give a readable {what}") from None


def nearest(word: str, known: Iterable[str]) -> str:
    """The remedy for an unknown word: the known word that was probably meant, or all of them."""
    words = sorted(known)
    close = get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"known are: {', '.join(words)}" if words else "nothing is known here"


def in_words(error: ValidationError, model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, fault with its remedy) for every error of ``model``, without the values."""
    for detail in error.errors(include_url=False, include_input=False):
        where = [str(part) for part in detail["loc"] if part != "[key]"]
        yield ".".join([prefix, *where] if prefix else where), _fault(detail, model)


def _fault(detail: ErrorDetails, model: type[BaseModel]) -> str:
    path = [part for part in detail["loc"] if part != "[key]"]
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key; {nearest(str(path[-1]), _keys(_model_at(model, path[:-1])))}"
        case "enum" if "[key]" in detail["loc"]:
            return f"unknown key; {nearest(str(path[-1]), _QUOTED.findall(detail['msg']))}"
        case "missing":
            return "missing; add it"
        case "model_type":
            return "it should be a table"
        case _:
            return _mended(detail["msg"])


def _mended(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if text.startswith("Input should"):
        text = text.replace("Input should", "it should", 1)
    return text


def _keys(model: type[BaseModel] | None) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _model_at(model: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel] | None:
    """The model that the keys under ``path`` belong to."""
    found: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int) or found is None:
            continue
        fields = {field.alias or name: field for name, field in found.model_fields.items()}
        found = next(_models_in(fields[part].annotation), None) if part in fields else None
    return found


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` laid over it, table by table."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result
