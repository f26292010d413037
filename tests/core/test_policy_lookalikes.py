"""Letters that look Latin hide nothing: not in intents, not in blocked names."""

from __future__ import annotations

import time
from string import ascii_lowercase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_core.policy import AgentFacts, compile_policy, default_policy
from aegis_core.policy.text import fold
from aegis_core.protocol.lookalikes import LOOKALIKES
from aegis_core.protocol.messages import PermissionRequest

DISGUISES = {letter: [chr(code) for code, latin in LOOKALIKES.items() if latin == letter] for letter in ascii_lowercase}


def ask(intent: str, **fields: Any) -> PermissionRequest:
    return PermissionRequest(**{"agent_id": "a", "task_intent": intent, "resource_type": "api_call"} | fields)


@pytest.mark.parametrize(
    "intent",
    [
        "drоp dаtаbаse",  # Cyrillic
        "DRОP DАТАВАSЕ users",
        "dгор database",
        "ⅾroр ԁаtаbаѕе",
        "drοp dαtαbαsε",  # Greek
        "𝐝𝐫𝐨𝐩 𝔡𝔞𝔱𝔞𝔟𝔞𝔰𝔢",  # mathematical
        "ｄｒｏｐ　ｄａｔａｂａｓｅ",  # full-width
        "ⓓⓡⓞⓟ database",
        "🅳🆁🅾🅿 database",
        "🇩🇷🇴🇵 database",
        "ᴅʀᴏᴘ ᴅᴀᴛᴀʙᴀsᴇ",  # small capitals
        "ꓓꓣꓳꓑ database",  # Lisu
        "drop datábase",
        "dro\u0327p database",
        "dr\u043e\u0301p database",
        "dr\u043e\u200b\u0301p database",
    ],
)
def test_a_blocked_intent_in_disguise(intent: str) -> None:
    ruling = default_policy().evaluate(ask(intent), AgentFacts("a"))
    assert (ruling.effect, ruling.rule) == ("deny", "no-database-drop")


@given(st.data())
def test_any_mixture_of_disguises(data: st.DataObject) -> None:
    disguised = "".join(
        data.draw(st.sampled_from([letter, *DISGUISES[letter]])) if letter.isalpha() else letter
        for letter in "please drop database users"
    )
    assert default_policy().evaluate(ask(disguised), AgentFacts("a")).rule == "no-database-drop"


@pytest.mark.parametrize("agent", ["rogue-bot", "ROGUE-bot", "rоgue-bоt", "ｒogue-bot", "rogué-bot", "гogue-bot-2"])
def test_a_blocked_name_in_disguise(agent: str) -> None:
    rules = compile_policy(
        {"schema": 1, "rules": [{"name": "r", "type": "agent_blocklist", "agents": ["rogue-bot", "Rogue-*-2"]}]}
    )
    assert rules.evaluate(ask("read"), AgentFacts(agent)).effect == "deny"
    assert rules.evaluate(ask("read"), AgentFacts("rogue-bots")).effect == "allow"


def test_a_list_in_another_alphabet_still_matches() -> None:
    rules = compile_policy(
        {
            "schema": 1,
            "rules": [
                {"name": "words", "type": "blocked_intent", "phrases": ["удали* базу", "διαγραφή", "删除数据库"]},
                {"name": "names", "type": "agent_blocklist", "agents": ["бот-*"]},
            ],
        }
    )
    for intent in ("Удалить базу", "ΔΙΑΓΡΑΦΉ τώρα", "请删除数据库"):
        assert rules.evaluate(ask(intent), AgentFacts("a")).rule == "words"
    assert rules.evaluate(ask("read"), AgentFacts("Бот-7")).rule == "names"
    assert rules.evaluate(ask("читать новости"), AgentFacts("a")).effect == "allow"


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    once = fold(text)
    assert fold(once) == once


@given(st.text(st.characters(max_codepoint=127)))
def test_plain_text_is_only_normalised(text: str) -> None:
    assert fold(text + " é").removesuffix("e").rstrip() == fold(text).rstrip()


def test_the_longest_intent_is_folded_in_milliseconds() -> None:
    start = time.thread_time()
    default_policy().evaluate(ask("о\u0301ж" * 2_666), AgentFacts("a"))
    assert time.thread_time() - start < 0.1
