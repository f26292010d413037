"""Names that mix scripts are told as such, and no others are."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from aegis_core.protocol.fields import identifier
from aegis_core.protocol.writing import looks_like, mixed_scripts, told_name


@pytest.mark.parametrize(
    ("name", "scripts"),
    [
        ("b\u0456ll-agent", "Latin and Cyrillic"),
        ("\u0412ot", "Cyrillic and Latin"),
        ("ag\u03b5nt_7", "Latin and Greek"),
        ("\u13a2nvoice", "Cherokee and Latin"),
        ("\u2ca5ync", "Coptic and Latin"),
        ("\ua4d0I", "Lisu and Latin"),
        ("\u0578ight", "Armenian and Latin"),
        ("\u10d0gent", "Georgian and Latin"),
        ("p\u0430\u03c5", "Latin, Cyrillic and Greek"),
        ("\u0434\u6f22", "Cyrillic and Han"),
        ("\U000104b0gent", "another script and Latin"),
    ],
)
def test_names_that_mix_scripts(name: str, scripts: str) -> None:
    assert identifier(name) == name
    assert mixed_scripts(name) == scripts
    assert told_name(name) == f"{name} (mixes {scripts})"


@pytest.mark.parametrize(
    "name",
    [
        "billing-agent.v2/eu:7@host", "na\u00efve-\u0142\u00f3d\u017a", "\u0441\u0447\u0451\u0442-7",
        "\u03c7\u03c1\u03ad\u03c9\u03c3\u03b7_1", "\u8acb\u6c42\u66f8-bot", "\u3059\u3057\u30ab\u30fc\u6f22-bot",
        "\uccad\uad6c\u6f22-bot", "\u6f22\u3105-bot", "\u0627\u0644\u0641-1", "\u0939\u0930-2",
    ],
)  # fmt: skip
def test_names_that_do_not(name: str) -> None:
    """Digits and signs are of no script; Chinese, Japanese and Korean are written in several, beside Latin letters."""
    assert identifier(name) == name
    assert mixed_scripts(name) == ""
    assert told_name(name) == name


@pytest.mark.parametrize(
    ("name", "latin"),
    [
        ("\u0430\u0501\u0430", "ada"),
        ("\u0410\u0501\u0430-7", "ada-7"),
        ("\u0440\u0430\u0443\u0435\u0433_2", "payer_2"),
        ("\u0391\u0392\u0395\u039f", "abeo"),
        ("\u13aa\u13a1\u13a2", "art"),
    ],
)
def test_names_that_look_latin(name: str, latin: str) -> None:
    assert identifier(name) == name
    assert looks_like(name) == latin
    assert told_name(name) == f"{name} (looks like {latin})"


@pytest.mark.parametrize(
    "name",
    [
        "ada", "jos\u00e9", "\u0142aska", "s\u00f8ren", "k\u0131rm\u0131z\u0131",
        "\u0441\u0447\u0451\u0442-7", "\u0431\u043e\u0442", "\u03c7\u03c1\u03ad\u03c9\u03c3\u03b7_1", "\u8acb\u6c42",
    ],
)  # fmt: skip
def test_names_that_look_like_no_other(name: str) -> None:
    assert identifier(name) == name
    assert looks_like(name) == ""
    assert told_name(name) == name


@pytest.mark.parametrize("step", [70, pytest.param(7, marks=pytest.mark.deep)])
def test_every_letter_of_a_name_is_of_some_script(step: int) -> None:
    """Beside a Latin letter and a Cyrillic one: what is of neither, and of no script that is told, is another."""
    strange = 0
    for place in range(0x80, sys.maxunicode + 1, step):
        char = chr(place)
        if char.isalpha() and unicodedata.normalize("NFKC", char) == char:
            beside = {mixed_scripts(f"{char}a"), mixed_scripts(f"{char}\u0434"), mixed_scripts(f"{char}\u10d0")}
            common = beside == {""}  # such as a modifier letter that every script may use
            strange += not common and sum(not each for each in beside) > 1
    assert strange == 0


def test_no_name_can_say_it_of_itself() -> None:
    with pytest.raises(ValueError, match="must be 1 to 128 letters"):
        identifier("pay (mixes Latin and Cyrillic)")


def test_a_name_that_steers_a_terminal_is_spelt_out_all_the_same() -> None:
    assert told_name("\u0430\x1b[2Jb") == "\u0430\\u001b[2Jb (mixes Cyrillic and Latin)"
