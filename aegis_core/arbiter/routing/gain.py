"""The estimator: how much better the strong model of a pair would answer a text than the weak one.

A ridge regression on the gain, not on difficulty: a prompt that both fail belongs on the cheap model. Its terms are the
task type, the shape of the text within its type, and hashed words; what is not known falls back to the mean.
"""

from __future__ import annotations

import json
import math
from array import array
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from operator import mul
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aegis_core.arbiter.routing.features import BUCKETS, SHAPES, Features, features_of
from aegis_core.protocol.errors import ConfigurationError

FORMAT = "aegis-routing-1"
MAX_TYPES = 512
"""Task types that a model knows; rarer ones count as unknown."""

RARITY_STEP = 1 / 20
"""The unit of the stored inverse document frequencies, which are bytes."""

CLIP = 3.0
"""How many standard units a number of the shape may lie out."""

_FREQUENCY = tuple(1 + math.log(count) if count else 0.0 for count in range(64))

Number = Annotated[float, Field(allow_inf_nan=False)]


class TypeTerms(BaseModel):
    """One task type: how many outcomes it had, the mean scores, and its terms of the regression."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n: Annotated[int, Field(ge=0)]
    weak: Number
    strong: Number
    offset: Number
    slopes: Annotated[tuple[Number, ...], Field(min_length=len(SHAPES), max_length=len(SHAPES))]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str
    weak: str
    strong: str
    ratio: Number | None
    target: Number
    confidence: Number
    threshold: Number | None
    rows: int
    digest: str
    means: tuple[Number, Number]
    offset: Number
    shape_mean: tuple[Number, ...]
    shape_scale: tuple[Number, ...]
    shape_weights: tuple[Number, ...]
    types: dict[str, TypeTerms]
    step: Number
    rarity: str
    weights: str


@dataclass(frozen=True, slots=True)
class GainModel:
    """A fitted estimator.

    Attributes:
        weak, strong, ratio: the pair, and what a weak call costs as a share of a strong one (None: unknown).
        target: the share of the strong model's quality that `threshold` was set to keep.
        confidence: of the lower bound that `threshold` was set on.
        threshold: an estimated gain above it calls for the strong model; None: always.
        rows, digest: how many outcomes it was fitted on, and a fingerprint of their prompts.
        means: the mean scores of the weak and the strong model.
        types: what is known of each task type.
        rarity: a byte for each bucket, in units of `RARITY_STEP`; 0: never seen twice.
        weights: a signed byte for each bucket, in units of `step`.
    """

    weak: str
    strong: str
    ratio: float | None
    target: float
    confidence: float
    threshold: float | None
    rows: int
    digest: str
    means: tuple[float, float]
    offset: float
    shape_mean: tuple[float, ...]
    shape_scale: tuple[float, ...]
    shape_weights: tuple[float, ...]
    types: dict[str, TypeTerms]
    step: float
    rarity: bytes = field(repr=False)
    weights: array[int] = field(repr=False)
    _squares: list[int] = field(init=False, repr=False, compare=False)
    _products: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_squares", [rare * rare for rare in self.rarity])
        object.__setattr__(self, "_products", list(map(mul, self.rarity, self.weights)))

    def gain(self, text: str, task_type: str = "") -> float:
        """The expected difference of scores, strong less weak, for any text and any task type."""
        return self.gain_of(features_of(text), task_type)

    def gain_of(self, features: Features, task_type: str) -> float:
        """The same for a text that was read already."""
        known = self.types.get(task_type)
        total = self.offset + (known.offset if known else 0.0)
        shape = standard(features.shape, self.shape_mean, self.shape_scale)
        total += sum(map(float.__mul__, shape, self.shape_weights))
        if known:
            total += sum(map(float.__mul__, shape, known.slopes))
        # Nearly all buckets are hit once, so these sums run outside Python, and the others are put right after.
        buckets, squares, products = features.buckets, self._squares, self._products
        square: float = sum(map(squares.__getitem__, buckets))
        dot: float = sum(map(products.__getitem__, buckets))
        for bucket, count in buckets.items():
            if count != 1:
                often = frequency(count)
                square += squares[bucket] * (often * often - 1)
                dot += products[bucket] * (often - 1)
        return total + self.step * dot / math.sqrt(square) if square else total

    def calls_for_strong(self, gain: float) -> bool:
        """Whether an estimated gain is worth the strong model, by the threshold that was fitted."""
        return self.threshold is None or gain > self.threshold

    def dump(self) -> str:
        """The model as JSON."""
        content: dict[str, object] = {name: getattr(self, name) for name in _Document.model_fields if name != "format"}
        content["types"] = {name: terms.model_dump() for name, terms in self.types.items()}
        content["rarity"] = b64encode(self.rarity).decode()
        content["weights"] = b64encode(self.weights).decode()
        return json.dumps({"format": FORMAT, **content}, ensure_ascii=False, separators=(",", ":"))


def standard(shape: tuple[float, ...], mean: tuple[float, ...], scale: tuple[float, ...]) -> list[float]:
    """A shape in standard units, no further out than three of them."""
    return [
        max(-CLIP, min(CLIP, (value - middle) * unit)) for value, middle, unit in zip(shape, mean, scale, strict=True)
    ]


def frequency(count: int) -> float:
    """The weight of a bucket that was hit so often in one text."""
    return _FREQUENCY[count] if count < len(_FREQUENCY) else 1 + math.log(count)


def load_model(path: Path) -> GainModel:
    """Read a model that `aegis route fit` wrote.

    Raises:
        ConfigurationError: the file cannot be read, or is not such a model; names file and field.
    """
    try:
        content = json.loads(path.read_bytes())
        document = _Document.model_validate(content)
        if document.format != FORMAT:
            raise ValueError(f"format: is {document.format!r}, and this version reads {FORMAT!r}")
        rarity, weights = b64decode(document.rarity, validate=True), b64decode(document.weights, validate=True)
        if not len(rarity) == len(weights) == BUCKETS:
            raise ValueError(f"weights: must have {BUCKETS:,} buckets")
        for name in ("shape_mean", "shape_scale", "shape_weights"):
            if len(getattr(document, name)) != len(SHAPES):
                raise ValueError(f"{name}: must have {len(SHAPES)} numbers")
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise _refusal(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise _refusal(path, str(error)) from None
    values: dict[str, Any] = {name: getattr(document, name) for name in _Document.model_fields if name != "format"}
    values["rarity"], values["weights"] = rarity, array("b", weights)
    return GainModel(**values)


def _refusal(path: Path, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"routing model, {path}: {problem}; write one with aegis route fit", file=str(path), problem=problem
    )
