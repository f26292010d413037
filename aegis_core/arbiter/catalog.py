"""The catalog: which models there are, the quality class of each, and the class a logic density asks for.

The shipped one is ``catalog.json``; an operator replaces it as a whole with a file of the same shape.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError

from aegis_core.protocol.errors import ConfigurationError
from aegis_core.protocol.fields import Identifier
from aegis_core.protocol.parsing import Message, invalid, without_repeats

LEAST_DENSITY, GREATEST_DENSITY = 1, 10

_RANGE = re.compile(r"(\d{1,2})(?:-(\d{1,2}))?")
_SHIPPED = "catalog.json"

Tier = Annotated[int, Field(ge=1, le=5)]
Tokens = Annotated[int, Field(ge=1, le=100_000_000)]


class Model(Message):
    """One model that may be recommended. Sizes are in tokens; `price_ref` is ``provider:model`` in the price list.

    `context_tokens` bounds prompt and answer together, `max_output_tokens` the answer alone. One that is not `healthy`
    is never recommended, but still priced where an agent names it.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    name: Identifier
    tier: Tier
    provider: Identifier
    price_ref: Annotated[str, Field(pattern=r"^[^:]+:.+$")]
    context_tokens: Tokens
    max_output_tokens: Tokens
    tools: bool = False
    vision: bool = False
    healthy: bool = True


class _CatalogDocument(Message):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    density: dict[str, Tier]
    models: list[Model] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Catalog:
    """An immutable list of models. `version` is a short digest of the whole content.

    Attributes:
        models: in the order of the file, which decides between models of equal price.
        density: the tier for each logic density, 1 to 10.
        by_name: the same models by name.
    """

    models: tuple[Model, ...]
    density: tuple[int, ...]
    version: str
    by_name: Mapping[str, Model]

    @property
    def summary(self) -> str:
        """One line on it."""
        return f"{len(self.models)} models in five tiers (catalog {self.version})"

    def tier_for(self, logic_density: int) -> int:
        """The lowest tier that satisfies a logic density of 1 to 10."""
        return self.density[logic_density - LEAST_DENSITY]

    def by_tier(self, tier: int) -> tuple[Model, ...]:
        """The models of one tier, in the order of the file."""
        return tuple(model for model in self.models if model.tier == tier)

    def find(self, name: str) -> Model | None:
        """A model by its name, with or without its own provider before it (``openai/gpt-4o``, ``openai:gpt-4o``)."""
        if model := self.by_name.get(name):
            return model
        provider, bare = split_provider(name)
        model = self.by_name.get(bare)
        return model if model and provider in ("", model.provider) else None

    def nearest(self, name: str) -> list[str]:
        """Up to three names that look like this one, best first."""
        return difflib.get_close_matches(split_provider(name)[1], list(self.by_name), 3, 0.3)


def split_provider(name: str) -> tuple[str, str]:
    """Cut ``provider/model`` or ``provider:model`` at its first separator; without one the provider is empty.

    Google's own ``models/`` is not a provider and falls away.
    """
    parts = re.split("[/:]", name.removeprefix("models/"), maxsplit=1)
    return (parts[0], parts[1]) if len(parts) == 2 else ("", parts[0])


def load_catalog(path: Path | None = None) -> Catalog:
    """Read a catalog file, or the shipped one.

    Raises:
        ConfigurationError: the file cannot be read, or holds something that is not a catalog; names file and place.
    """
    source = str(path) if path else f"the shipped {_SHIPPED}"
    try:
        text = (path or files("aegis_core.arbiter") / _SHIPPED).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _refusal(source, "", f"cannot be read: {error}") from None
    try:
        content = json.loads(text, object_pairs_hook=without_repeats)
        document = _CatalogDocument.model_validate(content)
    except ValidationError as error:
        raise _invalid(source, error) from None
    except (ValueError, RecursionError) as error:
        raise _refusal(source, "", f"is not valid JSON: {error}") from None
    models = _named_once(source, document.models)
    highest = max((model.tier for model in models if model.healthy), default=0)
    density = _read_density(source, document.density, highest)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    by_name = MappingProxyType({model.name: model for model in models})
    return Catalog(models, density, sha256(canonical.encode()).hexdigest()[:12], by_name)


def _named_once(source: str, models: list[Model]) -> tuple[Model, ...]:
    seen: set[str] = set()
    for position, model in enumerate(models):
        if model.name in seen:
            raise _refusal(source, f"models.{position}.name", f"{model.name!r} is listed twice")
        seen.add(model.name)
    return tuple(models)


def _read_density(source: str, ranges: dict[str, int], highest: int) -> tuple[int, ...]:
    tiers: dict[int, int] = {}
    for text, tier in ranges.items():
        match = _RANGE.fullmatch(text)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not LEAST_DENSITY <= first <= last <= GREATEST_DENSITY:
            raise _refusal(source, f"density.{text}", "is not a density or a range within 1-10, such as 4-5")
        for value in range(first, last + 1):
            if tiers.setdefault(value, tier) != tier:
                raise _refusal(source, f"density.{text}", f"gives density {value} a second tier")
    for value in range(LEAST_DENSITY, GREATEST_DENSITY + 1):
        if value not in tiers:
            raise _refusal(source, "density", f"says nothing about density {value}")
        if tiers[value] < tiers.get(value - 1, 1):
            raise _refusal(source, "density", f"asks for a lower tier at density {value} than at {value - 1}")
        if tiers[value] > highest:
            raise _refusal(source, "density", f"sends density {value} to tier {tiers[value]}, where there is no model")
    return tuple(tiers[value] for value in range(LEAST_DENSITY, GREATEST_DENSITY + 1))


def _invalid(source: str, error: ValidationError) -> ConfigurationError:
    problem = invalid(error)
    first = error.errors()[0]
    text = str(problem.facts["problem"])
    if first["type"] == "extra_forbidden":
        known = Model if first["loc"][0] == "models" else _CatalogDocument
        close = difflib.get_close_matches(str(first["loc"][-1]), known.model_fields, 1)
        text = "is not a field" + (
            f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known.model_fields)}"
        )
    return _refusal(source, problem.field, text)


def _refusal(source: str, field: str, problem: str) -> ConfigurationError:
    where = f"{field} " if field else ""
    return ConfigurationError(f"model catalog, {source}: {where}{problem}", file=source, field=field, problem=problem)
