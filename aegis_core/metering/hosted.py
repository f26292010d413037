"""Hosted tools in a request: what their calls cost, and how much input their results may bring.

A provider runs such a tool within the call, as often as the model likes, and charges a fee, the tokens of the results,
and the prompt again for each turn. So the number of calls has to be bounded: by the request, or by a setting.
Sources: https://platform.openai.com/docs/guides/tools, https://platform.claude.com/docs/en/agents-and-tools/tool-use,
https://ai.google.dev/gemini-api/docs/tools
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from aegis_core.protocol.errors import InvalidRequestError

SEARCH_RESULT_TOKENS = 16_000
FILE_RESULT_TOKENS = 16_384
PAGE_RESULT_TOKENS = 100_000
CODE_RESULT_TOKENS = 8_000
REMOTE_RESULT_TOKENS = 25_000

GEMINI_CODE_RUNS = 5
"""So often Gemini runs code in one call at most."""


@dataclass(frozen=True, slots=True)
class HostedTool:
    """One hosted tool.

    Attributes:
        field: which field of `Usage` counts its calls; None: they are free but for their tokens.
        result_tokens: what one result brings into the prompt.
        calls: how often it runs at most, where the API says so.
        sessions: it is charged once, however often it is called.
    """

    field: str | None
    result_tokens: int
    calls: int | None = None
    sessions: bool = False


_SEARCH = HostedTool("web_searches", SEARCH_RESULT_TOKENS)
_CODE = HostedTool("code_sessions", CODE_RESULT_TOKENS, sessions=True)
_ONE_SESSION = HostedTool("code_sessions", 0, 1, sessions=True)
_REMOTE = HostedTool(None, REMOTE_RESULT_TOKENS)

_BY_TYPE: tuple[tuple[re.Pattern[str], HostedTool | None], ...] = (
    (re.compile(r"web_search(_preview)?(_[\d_]+)?"), _SEARCH),
    (re.compile(r"file_search"), HostedTool("file_searches", FILE_RESULT_TOKENS)),
    (re.compile(r"code_interpreter|code_execution_\d+"), _CODE),
    (re.compile(r"web_fetch_\d+"), HostedTool(None, PAGE_RESULT_TOKENS)),
    (re.compile(r"tool_search_tool_\w+"), HostedTool(None, CODE_RESULT_TOKENS)),
    (re.compile(r"mcp|mcp_toolset"), _REMOTE),
    # The caller runs these, or they are no more than their definition.
    (re.compile(r"function|custom|namespace|tool_search|local_shell|apply_patch|computer(_use_preview)?"), None),
    (re.compile(r"(computer|bash|text_editor|memory)_\d+"), None),
)
_GEMINI: dict[str, HostedTool] = {
    # What a search of Google finds is not charged as input.
    "googlesearch": HostedTool("web_searches", 0),
    "googlesearchretrieval": HostedTool("web_searches", 0),
    "googlemaps": HostedTool("map_searches", SEARCH_RESULT_TOKENS, 1),
    "urlcontext": HostedTool(None, PAGE_RESULT_TOKENS),
    "codeexecution": HostedTool(None, CODE_RESULT_TOKENS, GEMINI_CODE_RUNS),
    "filesearch": HostedTool(None, FILE_RESULT_TOKENS),
    "computeruse": HostedTool(None, 0, 0),
}
_MEMORY_PERCENT = {"": 100, "1g": 100, "4g": 400, "16g": 1_600, "64g": 6_400}
"""OpenAI's containers cost in proportion to their memory. https://platform.openai.com/docs/pricing"""


@dataclass(slots=True)
class Hosting:
    """The hosted tools of one request: calls by field, the tools' turns, and the tokens of their results."""

    fees: dict[str, int]
    turns: int = 0
    result_tokens: int = 0

    @classmethod
    def of(cls, body: Mapping[str, Any], model: str, otherwise: int | None) -> Hosting:
        """Look at the tools of a request.

        Args:
            body: the request.
            model: the model that is asked.
            otherwise: calls of a hosted tool to bound by, where the request does not.

        Raises:
            InvalidRequestError: a tool whose fee is not known, or whose calls nothing bounds; says what to do.
        """
        hosting = cls({})
        total = body.get("max_tool_calls")
        for position, tool in enumerate(_tools(body)):
            for kind, held, hosted in _hosted(tool, position):
                limit = _limit(held, hosted, total, otherwise, kind, model)
                hosting._add(hosted, limit, held)
        if "web_search_options" in body or "search-preview" in model or "search-api" in model:
            hosting._add(_SEARCH, 1, {})
        _check_others(body, model)
        return hosting

    def input_bound(self, prompt: int, output_cap: int) -> int:
        """Input of all turns together: each sends the prompt again, with all results and answers before it."""
        if not self.turns:
            return prompt
        results = self.result_tokens * (self.turns + 1) // 2
        return (self.turns + 1) * prompt + results + self.turns * output_cap

    def _add(self, tool: HostedTool, calls: int, held: Mapping[str, Any]) -> None:
        if tool.field is not None and calls:
            self.fees[tool.field] = self.fees.get(tool.field, 0) + (_containers(held) if tool.sessions else calls)
        if tool.result_tokens:
            self.turns += calls
            self.result_tokens += calls * max(tool.result_tokens, _whole(held.get("max_content_tokens")) or 0)


def is_hosted(tool: object) -> bool:
    """Whether the provider runs a tool, so that its definition is not the whole of its cost."""
    try:
        return isinstance(tool, Mapping) and bool(_hosted(cast("Mapping[str, Any]", tool), 0))
    except InvalidRequestError:
        return True


def _tools(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if body.get("tool_choice") == "none":
        return []
    found = body.get("tools")
    listed = cast("list[Any]", found) if isinstance(found, list | tuple) else []
    return [cast("Mapping[str, Any]", each) for each in listed if isinstance(each, Mapping)]


def _hosted(tool: Mapping[str, Any], position: int) -> list[tuple[str, Mapping[str, Any], HostedTool]]:
    """The hosted tools that one entry stands for, with its settings."""
    kind = tool.get("type")
    if isinstance(kind, str):
        if kind == "shell":
            where = str(_mapping(tool.get("environment")).get("type", "local"))
            return [(kind, tool, _CODE)] if where.startswith("container") else []
        for pattern, hosted in _BY_TYPE:
            if pattern.fullmatch(kind):
                # Anthropic's later web tools sift what they find with code.
                sifts = [(kind, tool, _ONE_SESSION)] if re.fullmatch(r"web_(search|fetch)_2026\d{4}", kind) else []
                return [] if hosted is None else [(kind, tool, hosted), *sifts]
        raise refusal(
            f"tools.{position}.type",
            f"{kind!r} is a hosted tool whose fee is not known; leave it out, or settle such calls in dollars",
        )
    found: list[tuple[str, Mapping[str, Any], HostedTool]] = []
    for name, held in tool.items():
        folded = name.replace("_", "").lower()
        if folded in _GEMINI and held is not None:
            found.append((name, _mapping(held), _GEMINI[folded]))
        elif folded in {"enterprisewebsearch", "vertexaisearch", "retrieval"}:
            raise refusal(f"tools.{position}.{name}", "is a hosted tool whose fee is not known; leave it out")
    return found


def _limit(
    tool: Mapping[str, Any], hosted: HostedTool, total: object, otherwise: int | None, kind: str, model: str
) -> int:
    """How often a tool runs at most."""
    said = [_whole(tool.get("max_uses")), _whole(total), hosted.calls]
    if kind.replace("_", "").lower().startswith("googlesearch") and re.search(r"gemini-[12](?!\d)", model):
        said.append(1)  # one fee for an answer, however many searches it took
    known = [each for each in said if each is not None]
    if known:
        return min(known)
    if otherwise is None:
        raise refusal(
            "tools",
            f"nothing bounds how often {kind} runs; give max_uses (Anthropic) or max_tool_calls (OpenAI), "
            "or allow a number of hosted calls in the settings",
        )
    return otherwise


def _containers(tool: Mapping[str, Any]) -> int:
    """How many ordinary containers one with so much memory costs."""
    memory = str(_mapping(tool.get("container")).get("memory_limit") or "")
    return -(-_MEMORY_PERCENT.get(memory, 6_400) // 100)


def _check_others(body: Mapping[str, Any], model: str) -> None:
    """Ways to buy searches without a tool."""
    plugins = body.get("plugins") or ()
    for plugin in cast("list[Any]", plugins if isinstance(plugins, list | tuple) else [plugins]):
        name = str(_mapping(plugin).get("id", ""))
        if name not in {"response-healing", "context-compression"}:
            raise refusal("plugins", f"what the plugin {name!r} costs is not known before the call; leave it out")
    if model.endswith(":online"):
        raise refusal("model", "searches for each answer at a fee that is not known before; leave ':online' out")
    if _mapping(body.get("search_parameters")).get("mode", "off") != "off":
        raise refusal("search_parameters", "the number of sources is charged and not bounded; leave it out")
    if body.get("mcp_servers") and not any(tool.get("type") == "mcp_toolset" for tool in _tools(body)):
        raise refusal("mcp_servers", "nothing bounds what the server's tools return; use an mcp_toolset with a limit")


def refusal(field: str, problem: str) -> InvalidRequestError:
    """A request of which nobody can say what it costs at most."""
    return InvalidRequestError(f"{field}: {problem}", code="unbounded", field=field, problem=problem)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
