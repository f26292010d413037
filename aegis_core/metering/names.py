"""One name for a model, whatever the spelling: those of providers, clouds, gateways and frameworks.

The order: the operator's own names; a known provider before the name; a dated release; a fine-tune. A model keeps one
identity wherever it is called, because its budget is one; its price is that of the place.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from aegis_core.protocol.errors import UnknownModelError

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

_KNOWN_NAMES = 2_048

_PREFIXES = {
    "openai": "openai", "openai-chat": "openai", "openai-responses": "openai", "custom_openai": "openai",
    "text-completion-openai": "openai",
    "azure": "azure", "azure_ai": "azure", "azure_openai": "azure", "azure-openai": "azure",
    "anthropic": "anthropic",
    "bedrock": "aws", "bedrock_converse": "aws", "bedrock-converse": "aws", "aws": "aws", "amazon_bedrock": "aws",
    "google": "google", "google_genai": "google", "google_vertexai": "google", "google-gla": "google",
    "google-vertex": "google", "gemini": "google", "vertex_ai": "google", "vertex_ai_beta": "google",
    "vertex": "google", "google_anthropic_vertex": "google",
    "openrouter": "openrouter",
    "fireworks_ai": "fireworks", "fireworks": "fireworks",
    "together_ai": "together", "together": "together",
    "xai": "x-ai", "x-ai": "x-ai", "grok": "x-ai",
    "mistral": "mistral", "mistralai": "mistral", "groq": "groq", "deepseek": "deepseek", "cohere": "cohere",
    "cohere_chat": "cohere", "perplexity": "perplexity", "cerebras": "cerebras", "voyage": "voyageai",
    "moonshot": "moonshotai", "moonshotai": "moonshotai", "zai": "zai", "minimax": "minimax", "novita": "novita",
    "databricks": "databricks", "cloudflare": "cloudflare", "github-copilot": "github-copilot", "meta": "meta",
    "ollama": "", "ollama_chat": "", "hosted_vllm": "", "vllm": "", "lm_studio": "", "llamafile": "",
}  # fmt: skip
"""What stands before a name, and whose prices it means; nobody's list has prices of one's own machines."""

_GATEWAYS = frozenset({"litellm_proxy", "litellm", "models"})
"""These pass a name on: without them it is the same name."""

_MAKERS = (
    "openai", "anthropic", "google", "mistral", "deepseek", "x-ai", "cohere", "voyageai", "moonshotai", "zai",
    "minimax",
)  # fmt: skip
"""Whose own lists give a model its identity, and where a name without a provider is looked for."""

_PUBLISHED = re.compile(r"(?:projects/[^/]+/locations/[^/]+/)?publishers/[^/]+/models/(?P<name>.+)")
_ARN = re.compile(r"arn:aws[\w-]*:bedrock:[\w-]*:\d*:(?P<kind>foundation-model|inference-profile)/(?P<name>.+)")
_BEDROCK = re.compile(
    r"(?:(?:us|eu|apac|jp|au|ca|us-gov|global)\.)?"
    r"(?:anthropic|amazon|meta|mistral|cohere|ai21|deepseek|qwen|openai|writer|moonshot|minimax|google|nvidia|zai)\.\S+"
)
_REGION = re.compile(r"(?:[a-z]{2}(?:-gov)?-[a-z]+-\d|us|eu|global|global-standard|converse|invoke|converse_like)/")
_ZONE = re.compile(r"(?:us|eu)/")
_FIREWORKS = re.compile(r"accounts/[^/]+/models/")
_DATE = re.compile(r"[-@](?:20\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])|latest|\d{4})$")
_VERSION = re.compile(r"-v\d+(?::\d+)?(?::\w+)?$")
_VENDOR = re.compile(r"^(?:(?:us|eu|apac|jp|au|ca|us-gov|global|regional)\.)?(?:[a-z0-9]+\.)(?=[a-z])")
_FINE_TUNE = re.compile(r"ft:(?P<base>[^:]+)")

REMEDIES = (
    "state its price in the price file (AEGIS_PRICES_FILE), or say which model it is "
    '(AEGIS_MODELS={{"{name}": "gpt-4o"}})'
)


@dataclass(frozen=True, slots=True)
class ParsedName:
    """A name taken apart: whose prices it means (None: it does not say), and the name there.

    `inferred`: the list knows it only by a rule, so an operator's own price for it holds alone.
    `percent`: of the listed price.
    """

    provider: str | None
    bare: str
    inferred: bool = False
    percent: int = 100


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of the price list. `own`: of the provider's list itself, not of one that it falls back to."""

    provider: Provider
    model: ModelInfo
    own: bool

    @property
    def ref(self) -> str:
        """``provider:model``."""
        return f"{self.provider.id}:{self.model.id}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A name and what it means.

    Attributes:
        canonical: the one name of the model, by which budgets count.
        parsed: the name taken apart.
        listed: the entry of the price list; None: only the operator's file has a price.
    """

    canonical: str
    parsed: ParsedName
    listed: Listed | None


def folded(name: str) -> str:
    """A name without what spellings of it differ in: case, and the sign after the provider."""
    return name.strip().lower().replace(":", "/")


def parse_name(name: str, providers: Container[str] = ()) -> ParsedName:
    """Take a name apart at the provider before it: one that is known here, or one of the list's own names."""
    text, inferred = name.strip(), False
    while True:
        lower = text.lower()
        if arn := _ARN.fullmatch(lower):
            return ParsedName("aws", arn["name"], True)
        if published := _PUBLISHED.fullmatch(lower):
            return ParsedName("google", published["name"], inferred)
        head, sign, rest = _split(lower)
        if sign and head in _GATEWAYS:
            text, inferred = rest, inferred or head != "models"
            continue
        break
    provider: str | None = None
    if sign and (head in _PREFIXES or head in providers):
        provider, lower = _PREFIXES.get(head, head), rest
    elif _BEDROCK.fullmatch(lower):
        provider = "aws"
    # Data zones: https://azure.microsoft.com/pricing/details/cognitive-services/openai-service/
    percent = 110 if provider == "azure" and _ZONE.match(lower) else 100
    if provider in {"azure", "aws"}:
        while match := _REGION.match(lower):
            lower = lower[match.end() :]
    if provider == "fireworks":
        lower = lower if _FIREWORKS.match(lower) else f"accounts/fireworks/models/{lower}"
    if provider == "google" and (published := _PUBLISHED.fullmatch(lower)):
        lower = published["name"]
    return ParsedName(provider, lower, inferred, percent)


def _split(name: str) -> tuple[str, str, str]:
    match = re.search("[/:]", name)
    return (name[: match.start()], match[0], name[match.end() :]) if match else (name, "", "")


class Resolver:
    """Finds what names mean. Safe from many threads: it only reads, and its cache is bounded."""

    def __init__(
        self, providers: Iterable[Provider], aliases: Mapping[str, str] | None = None, own: Iterable[str] = ()
    ) -> None:
        """Take the lists in.

        Args:
            providers: the price list.
            aliases: names of deployments, and the models that they are.
            own: names in the operator's price file, which need no entry in the list.
        """
        self._providers = {provider.id: provider for provider in providers}
        self._aliases = {folded(name): model for name, model in (aliases or {}).items()}
        self._own = {folded(name) for name in own}
        self._tails: dict[str, str] = {}
        for key in sorted(self._own, reverse=True):
            self._tails[key.partition("/")[2]] = key
        self.find = lru_cache(maxsize=_KNOWN_NAMES)(self._find)
        self.nearest = lru_cache(maxsize=_KNOWN_NAMES)(self._nearest)

    def resolve(self, name: str) -> Resolved:
        """What a name means.

        Raises:
            UnknownModelError: neither the list nor the operator knows it; says what to do, and `nearest` lists others.
        """
        if found := self.find(name):
            return found
        raise self.unknown(name)

    def unknown(self, name: str) -> UnknownModelError:
        """The refusal of a name without a known price."""
        nearest = self.nearest(name)
        near = f"; the nearest known are {', '.join(nearest)}" if nearest else ""
        remedies = REMEDIES.format(name=name)
        return UnknownModelError(
            f"no price is known for the model {name!r}, so it cannot be allowed: {remedies}{near}",
            kind="model",
            name=name,
            nearest=list(nearest),
        )

    def own_key(self, name: str, listed: bool) -> str | None:
        """The entry of the operator's file that is about a name.

        A name that is `listed` is another provider's where the file says one and the name does not.
        """
        key = folded(name)
        if key in self._own:
            return key
        if not listed and key in self._aliases:  # a deployment of a model of the operator's own
            name = self._aliases[key]
            key = folded(name)
            if key in self._own:
                return key
        parsed = self._parse(name)
        provider = parsed.provider or ("openai" if _FINE_TUNE.match(parsed.bare) else None)
        spelt = f"{provider}/{folded(parsed.bare)}"
        return spelt if spelt in self._own else None if listed else self._tails.get(key)

    def look_up(self, parsed: ParsedName) -> Listed | None:
        """The entry of the list for a name; another provider's price is not looked at, it may be lower."""
        if parsed.provider is not None:
            return self._of(parsed.provider, parsed.bare)
        for provider in self._providers.values():
            if provider.model_match is not None and provider.model_match.is_match(parsed.bare):
                if found := self._of(provider.id, parsed.bare):
                    return found
                break
        return next((found for maker in _MAKERS if (found := self._of(maker, parsed.bare))), None)

    def _find(self, name: str) -> Resolved | None:
        alias = self._aliases.get(folded(name))
        meant = self._known(alias) if alias is not None and folded(alias) != folded(name) else None
        if meant is not None and self.own_key(name, listed=True):
            # A deployment with a price of its own counts in the budget of the model that it is.
            return replace(meant, parsed=replace(self._parse(name), inferred=True))
        return meant or (self._known(name) if alias is None or folded(alias) == folded(name) else None)

    def _parse(self, name: str) -> ParsedName:
        return parse_name(name, self._providers)

    def _known(self, name: str) -> Resolved | None:
        parsed = self._parse(name)
        listed = self.look_up(parsed)
        tuned = _FINE_TUNE.match(parsed.bare)
        if listed is None and tuned is None:
            bare = undated(parsed.bare)
            if bare != parsed.bare:
                listed = self.look_up(ParsedName(parsed.provider, bare))
                parsed = ParsedName(parsed.provider, parsed.bare, True, parsed.percent)
        if tuned:
            parsed = ParsedName(parsed.provider or "openai", parsed.bare, True, parsed.percent)
            listed = self._of("openai", f"ft:{undated(tuned['base'])}:") or self._of("openai", parsed.bare)
        if listed is None and self.own_key(name, listed=False) is None:
            return None
        if tuned:
            return Resolved(self._identity(tuned["base"]), parsed, listed)
        return Resolved(self._identity(listed.model.id if listed else parsed.bare), parsed, listed)

    def _of(self, provider_id: str, bare: str) -> Listed | None:
        provider = self._providers.get(provider_id)
        model = provider.find_model(bare, all_providers=list(self._providers.values())) if provider else None
        if provider is None or model is None:
            return None
        return Listed(provider, model, any(model is each for each in provider.models))

    def _identity(self, ref: str) -> str:
        """The maker's name of a model that a cloud or a gateway calls otherwise."""
        bare = ref.lower().rpartition("/")[2]
        bare = _VENDOR.sub("", bare) if _BEDROCK.fullmatch(bare.removeprefix("regional.")) else bare
        bare = _VERSION.sub("", bare.removesuffix(":free").partition(":")[0] if not bare.startswith("ft:") else bare)
        for spelling in (undated(bare), bare):
            for maker in _MAKERS:
                provider = self._providers.get(maker)
                if provider and (model := provider.find_model(spelling)) is not None:
                    return model.id
        return bare

    def _nearest(self, name: str) -> tuple[str, ...]:
        """Up to three similar names, of those that begin alike; never the name itself in another spelling."""
        bare = self._parse(name).bare.rpartition("/")[2]
        mine = {folded(name), bare, folded(bare), undated(bare)}
        known = {model.id for provider in self._providers.values() for model in provider.models}
        others = {each for each in known if each.startswith(bare[:3]) and not mine & _spellings(each)}
        return tuple(difflib.get_close_matches(bare, sorted(others), 3, 0.5))


def _spellings(ref: str) -> set[str]:
    lower = ref.lower()
    return {lower, folded(lower), lower.partition(":")[0], lower.rpartition("/")[2].partition(":")[0]}


def undated(name: str) -> str:
    """A name without the date of its release."""
    return _DATE.sub("", _VERSION.sub("", name))
