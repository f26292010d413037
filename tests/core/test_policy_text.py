"""How intents are read and how phrases find their place in them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis_core.policy.globs import PatternList
from aegis_core.policy.phrases import compile_phrase
from aegis_core.policy.text import WORD, fold, normalise, set_apart, spaced, words
from aegis_core.protocol.fields import Glob
from aegis_core.protocol.profiles import Profile

UNSEEN = [
    *"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180e\u180f\u200b\u200d\u200f\u202a\u202e\u2060\u2065\u206f\u2800\u3164",
    *"\ufe00\ufe0f\ufeff\uffa0\ufff0\ufff8\ufffc\U00013441\U0001bca0\U0001d159\U0001d173\U000e0001\U000e0020\U000e0fff",
]
"""One or both ends of every range that Unicode calls ignorable by default, and what is drawn as nothing."""


def occurs(phrase: str, text: str) -> bool:
    return compile_phrase(phrase).occurs(spaced(words(text)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Drop\t\tthe \r\n Database ", "drop the database"),
        ("Straße ＤＲＯＰ ﬁle", "strasse drop file"),
        ("dr\u200bop \u202edata\u00adbase\ufeff", "drop database"),
        ("d\u0336r\u0336op\ufe0f", "drop"),
        ("dr\x00o\x08p\x7f", "drop"),
        ("e\u200b\u0301", "é"),
        ("caf\u00e9 cafe\u0301", "café café"),
        ("drop\u00a0\u2003\u2028database", "drop database"),
        ("rm -rf /", "rm -rf /"),
        ("", ""),
    ],
)
def test_texts_that_look_alike_become_one(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.text())
@example("\u0130\u0345\u1e9e")
@example("\u1100\u0300\u1161")
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert "  " not in once


@given(st.text(st.characters(max_codepoint=127)))
def test_the_ascii_fast_path_reads_the_same_words_as_the_slow_one(text: str) -> None:
    shown = set_apart(text) or text
    again = [] if shown == text else words(shown)
    assert words(text) == WORD.findall(normalise(text)) + again
    assert words(shown) == words(shown + " é")[:-1]


@pytest.mark.parametrize("unseen", [*UNSEEN, "\u200b\u3164", "\u2800\u2060"])
def test_what_is_unseen_neither_hides_a_word_nor_joins_two(unseen: str) -> None:
    phrase = compile_phrase("erase every backup")
    assert phrase.occurs(spaced(words(f"please er{unseen}ase every ba{unseen}ckup")))
    assert phrase.occurs(spaced(words(f"please erase{unseen}every{unseen}backup")))
    assert not phrase.occurs(spaced(words(f"please erase{unseen}every{unseen}letter")))
    assert fold(f"sh{unseen}ell") == "shell"


def test_everything_that_unicode_calls_ignorable_is_unseen() -> None:
    assert {char for char in UNSEEN if fold(f"a{char}b") != "ab"} == set()
    assert words("❤\ufe0f transfer") == ["transfer"], "what follows a sign is no second reading"


@pytest.mark.parametrize(
    "text",
    [
        "drop database",
        "DROP   DATABASE;",
        "please 'drop'\n\tdatabase users",
        "drop_database",
        "run drop-database.sh",
        "db.drop/**/database()",
        "dr\u200bop database",
        "ｄｒｏｐ　ｄａｔａｂａｓｅ",
        "d\u0336rop data\u00adbase",
        "drop\u00a0database",
    ],
)
def test_spelling_and_layout_do_not_hide_a_phrase(text: str) -> None:
    assert occurs("drop database", text)
    assert occurs("Drop Database;", text)


@pytest.mark.parametrize(
    "text", ["drop databases", "raindrop database", "drop the database", "database drop", "dropdatabase", "drop"]
)
def test_words_match_whole_and_in_a_row(text: str) -> None:
    assert not occurs("drop database", text)


@pytest.mark.parametrize("text", ["rm -rf /", "sudo rm  -RF/", "x;rm -rf/*", "`rm -rf ~`", "-- rm -rf\n"])
def test_command_flags_are_words(text: str) -> None:
    assert occurs("rm -rf", text)


@pytest.mark.parametrize("text", ["farm -rf", "rm -rfc", "rm x -rf", "rmrf"])
def test_command_flags_keep_their_borders(text: str) -> None:
    assert not occurs("rm -rf", text)


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("transfer*", "transferring", True),
        ("transfer*", "transfer", True),
        ("transfer*", "retransfer", False),
        ("stake", "stakeholder", False),
        ("transfer* all", "transferred all", True),
        ("transfer* all", "transferred it all", False),
        ("transfer* all", "transferx transfery all", True),
        ("a* b* c", "ax by c", True),
        ("a* b* c", "ax c by c", False),
        ("a* b* c", "a a b b c", False),
        ("a* b* c", "a a b c", True),
        ("transfer* … all … funds", "transfer them, yes all of my funds", True),
        ("transfer* ... all ... funds", "Transferring all funds", True),
        ("transfer* …all… funds", "all funds transfer", False),
        ("transfer* … all … funds", "transfer all", False),
        ("a … a", "a", False),
        ("a … a", "a a", True),
        ("a* … ab", "ab", False),
        ("a* … ab", "ab ab", True),
        ("a b … b c", "a b c", False),
        ("a b … b c", "a b b c", True),
        ("删除数据库", "请立即删除数据库。", True),
        ("删除数据库", "请删除旧数据库", False),
        ("删除…数据库", "请删除旧数据库", True),
    ],
)
def test_stars_and_gaps(phrase: str, text: str, found: bool) -> None:
    assert occurs(phrase, text) is found


@pytest.mark.parametrize(
    ("phrase", "problem"),
    [
        ("", "has no word in it"),
        (" -- ; ", "has no word in it"),
        ("…", "has no word in it"),
        ("drop …", "has no word before or after a …"),
        ("... drop", "has no word before or after a …"),
        ("drop … … table", "has no word before or after a …"),
        ("drop *", "has a * that ends no word"),
        ("*fer", "has a * that ends no word"),
        ("drop **", "has a * that ends no word"),
        ("tr*fer", "has a * inside a word"),
    ],
)
def test_a_phrase_that_means_nothing_is_refused(phrase: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("*", r"\*")):
        compile_phrase(phrase)


_LETTERS = st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=12)
_PARTS = st.lists(
    st.lists(st.tuples(st.text("ab", min_size=1, max_size=2), st.booleans()), min_size=1, max_size=3),
    min_size=1,
    max_size=3,
)


@given(_PARTS, _LETTERS)
def test_greedy_matching_finds_what_exhaustive_search_finds(
    parts: list[list[tuple[str, bool]]], text: list[str]
) -> None:
    def search(part: int, start: int) -> bool:
        if part == len(parts):
            return True
        run = parts[part]
        return any(
            all(
                word.startswith(want) if star else word == want
                for word, (want, star) in zip(text[at:], run, strict=False)
            )
            and search(part + 1, at + len(run))
            for at in range(start, len(text) - len(run) + 1)
        )

    phrase = " … ".join(" ".join(word + "*" * star for word, star in run) for run in parts)
    assert occurs(phrase, " ".join(text)) is search(0, 0)


@given(_PARTS, _LETTERS)
def test_the_stem_of_a_phrase_begins_a_word_of_every_text_it_occurs_in(
    parts: list[list[tuple[str, bool]]], text: list[str]
) -> None:
    text = [word * 3 for word in text]
    phrase = compile_phrase(" … ".join(" ".join(word * 3 + "*" * star for word, star in run) for run in parts))
    if phrase.stem is not None and phrase.occurs(spaced(text)):
        assert phrase.stem in {word[: len(phrase.stem)] for word in text}


class Counted(str):
    """A text that counts how often it is looked into."""

    __slots__ = ("looks",)

    def __new__(cls, text: str) -> Counted:
        made = super().__new__(cls, text)
        made.looks = 0
        return made

    def find(self, *args: object) -> int:  # type: ignore[override]
        self.looks += 1
        return super().find(*args)  # type: ignore[arg-type]

    def startswith(self, *args: object) -> bool:  # type: ignore[override]
        self.looks += 1
        return super().startswith(*args)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("transfer* … all … funds", "transfer all " * 600),
        ("a* a* a* … a* a* b", "a " * 4_000),
        ("a … a … a … a … b", "a " * 4_000),
        ("a* b* … a* b* … c", "a b " * 2_000),
        ("a* b", "a" * 8_000),
        ("a* a* a* a* a* a* a* b", "aa " * 2_666),
    ],
)
def test_a_hostile_intent_costs_a_bounded_number_of_looks_per_word(phrase: str, text: str) -> None:
    counted = Counted(spaced(words(text)))
    asked = phrase.replace("…", "").split()
    assert not compile_phrase(phrase).occurs(counted)
    assert counted.looks <= 2 * len(asked) * len(words(text)) + len(asked)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("bot-*", "bot-7", True),
        ("bot-*", "bot-", True),
        ("bot-*", "robot-7", False),
        ("bot-*-test", "bot-7-test", True),
        ("bot-*-test", "bot-test", False),
        ("*", "anyone", True),
        ("a*b*c", "a.b.b.c", True),
        ("a*b*c", "a.c.b", False),
        ("ab*ba", "aba", False),
        ("a**c", "ac", True),
        ("a*b*b", "ab", False),
        ("bot", "bot", True),
        ("bot", "bot-7", False),
        ("bot*", "Bot-7", False),
    ],
)
def test_patterns_of_agent_ids(pattern: str, name: str, fits: bool) -> None:
    assert Glob.parse(pattern).matches(name) is fits


@settings(max_examples=300, deadline=None)
@given(pattern=st.text("ab*", min_size=1, max_size=8), name=st.text("ab", max_size=8))
def test_a_pattern_matches_what_a_regular_expression_would(pattern: str, name: str) -> None:
    fits = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name) is not None
    assert Glob.parse(pattern).matches(name) is fits
    assert Profile(match=pattern).fits(name) is fits
    assert (PatternList([pattern]).entry(name) is not None) is fits
