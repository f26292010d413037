"""Credentials in agents' text are masked; ordinary words, names and addresses are not."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_core.protocol.masking import MASK, mask_json, mask_metadata, mask_text

_PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\nq2w3e4r5t6y7u8\n-----END RSA PRIVATE KEY-----"
_JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL",
        "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789",
        "sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789",
        "sk-ant-api03-R2D2_abcdefghijkl-mnopqrstuvwx_yz01234567-89AA",
        "sk-svcacct-4bCd_efGh-ijkl_MNop-qrst_UVwx-yz01",
        "sk_live_abcdefghijklmnopqrstuvwx",
        "rk_test_abcdefghijklmnopqrstuvwx",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "gho_abcdefghijklmnopqrstuvwxyz0123456789",
        "AKIAIOSFODNN7EXAMPLE",
        "AIzaSyA-abcdefghijklmnopqrstuvwxyz01234",
        "xoxb-123456789012-abcdefghijkl",
        _JWT,
        _PEM,
        _PEM.partition("\n-----END")[0],
        "0x" + "ab" * 32,
    ],
    ids=lambda secret: secret[:12],
)
@pytest.mark.parametrize("frame", ["{}", "Use {} now", 'x="{}";', "({}), then", "see:{}\nand go on"])
def test_a_key_is_masked_wherever_it_stands(secret: str, frame: str) -> None:
    masked = mask_text(frame.format(secret))
    assert secret not in masked
    assert MASK in masked
    assert not any(secret[at : at + 16] in masked for at in range(len(secret) - 15))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Authorization: Bearer abcdef1234567890", "Authorization: Bearer [masked]"),
        ("password: hunter2hunter2", "password: [masked]"),
        ("PASSWORD=hunter2", "PASSWORD=[masked]"),
        ("the password is hunter2, go", "the password is [masked], go"),
        ('{"api_key": "abcd1234"}', '{"api_key": "[masked]"}'),
        ("api-key=abcd1234&x=1", "api-key=[masked]"),
        ("auth_token: abcd1234", "auth_token: [masked]"),
        ("secret='abcd1234'", "secret='[masked]'"),
        ("passphrase: correct-horse", "passphrase: [masked]"),
        ("redis://:hunter2@db:6379/0", "redis://[masked]@db:6379/0"),
        ("postgres://app:p%40ss@db/x", "postgres://[masked]@db/x"),
        ("https://user:token@host/path", "https://[masked]@host/path"),
    ],
)
def test_what_a_word_says_is_secret(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "Summarise Sui governance proposals",
        "Stay within the token budget",
        "The key question is whether tokens matter",
        "Count the tokens; the secret of good prose is brevity",
        "What is the password policy?",
        "Send 1 ETH to 0x52908400098527886E0F7030069857D2E4169EE7",
        "Open https://example.com:8080/a?key=1 and mail ann@example.com",
        "sk-learn and pk-fields are short",
        "Tidy the sk-learn-based-feature-pipeline",
        "Compare task-management-software-for-enterprise-customers",
        "Rotate the API key of team research",
        "Who is the bearer of this message?",
        "eyJ is how a JWT begins",
        "key: C major",
        "",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert mask_text(text) == text


def test_masking_twice_is_masking_once() -> None:
    text = f"Bearer abcdef1234567890 password: hunter2 {_JWT} redis://:pw@h {_PEM}"
    assert mask_text(mask_text(text)) == mask_text(text)


def test_metadata_is_masked_by_name_and_by_shape() -> None:
    masked = mask_metadata(
        {
            "api_key": "x", "Authorization": "y", "db_password": "z", "note": "ghp_" + "a" * 36, "team": "research",
            "tokens": 7, "key_count": 3, "on": True, "none": None,
        }
    )  # fmt: skip
    assert masked == {
        "api_key": MASK, "Authorization": MASK, "db_password": MASK, "note": MASK, "team": "research",
        "tokens": 7, "key_count": 3, "on": True, "none": None,
    }  # fmt: skip


@given(st.text(max_size=200), st.sampled_from(["ghp_" + "a" * 36, "AKIAIOSFODNN7EXAMPLE", "password: hunter2x"]))
def test_any_text_around_a_secret(text: str, secret: str) -> None:
    word = secret.removeprefix("password: ")
    assert word not in mask_text(f"{text.replace(word, '')}\n{secret}\n{text.replace(word, '')}")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    [
        "-----BEGIN ", "-----BEGIN A PRIVATE KEY-----", "-----BEGIN PRIVATE", "sk-", "sk-a-", "sk_a_",
        "sk-abcdefghijklmno-", "eyJ-", "eyJaaaaaaaa-", "eyJaaaaaaaa.a-", "-AIza", "-xoxb", "--", "=",
        "ghp_", "xoxb-1", "eyJaaaaaaaa.", "eyJaaaaaaaa.bbbbbbbb.", "://", "://a:", "://a:b", "bearer ", "bearer\t",
        "password ", "password is ", "password:    ", "api_key", "token token=", "secret key ", "0x", "a", "A-", "_",
        "AKIA", "AIza", "mnemonic '  ", "seed phrase", '":', "key",
    ],
)  # fmt: skip
def test_hostile_text_is_read_in_linear_time(unit: str) -> None:
    """Intents have 8,000 characters at most; of 25 times as many, a quadratic pattern would not see the end."""
    for tail in ("", "x", "@"):
        mask_text(unit * (200_000 // len(unit)) + tail)
        mask_text(f"password {unit * (200_000 // len(unit))}{tail}")


@pytest.mark.parametrize("name", ["password", "dbPassword", "DB_PASSWORD", "client-secret", "apiKey", "seed phrase"])
def test_a_field_whose_name_says_secret_is_masked_whole(name: str) -> None:
    shown = mask_json(json.dumps({name: "tulips and roses"}, separators=(",", ":")), b"k")
    assert "roses" not in shown
    assert re.search(r"\[masked [a-z ]+ [0-9a-f]{12}\]", shown)


@pytest.mark.parametrize("name", ["token", "accessToken", "SESSION_TOKEN", "key"])
def test_a_token_is_masked_and_a_currency_or_an_address_is_not(name: str) -> None:
    for value, hidden in (("f3a9c2b17d604e58", True), ("USDC", False), ("0x" + "ab" * 20, False)):
        assert (value not in mask_json(json.dumps({name: value}, separators=(",", ":")), b"k")) is hidden


def test_what_only_sounds_like_a_secret_is_shown() -> None:
    text = '{"keywords":"pay 7 to ana 12345678","monkey":"f3a9c2b17d604e58","secretary":"ana","token_count":7}'
    assert mask_json(text, b"k") == text


def test_equal_secrets_are_seen_to_be_equal_under_one_key_only() -> None:
    text = '{"a":"sk-abcdefghij0123456789","b":"run sk-abcdefghij0123456789 now"}'
    shown = mask_json(text, b"k")
    assert len(set(re.findall("[0-9a-f]{12}", shown))) == 1
    assert shown != mask_json(text, b"another")
