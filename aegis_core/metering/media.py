"""Images, documents and sound in a request: how many tokens each is at most, never by the bytes of its base64.

Rules and their sources:
    OpenAI images: tiles of 512 or patches of 32 pixels, as the model has it; the dearest of the models counts unless
        the request says ``low``. https://platform.openai.com/docs/guides/images-vision
    Anthropic images: a token for 750 pixels, at most 4,784. https://platform.claude.com/docs/en/build-with-claude/vision
    Gemini images: 258 a tile of 768 pixels, at most 2,240 at the highest resolution of Gemini 3.
        https://ai.google.dev/gemini-api/docs/tokens, https://ai.google.dev/gemini-api/docs/media-resolution
    Pages: text of 3,000 tokens and a picture each; Gemini 258, or 1,120 at its highest resolution.
        https://platform.claude.com/docs/en/build-with-claude/pdf-support
    Sound: Gemini 32 tokens a second; OpenAI 10, of which one begins each tenth.
        https://ai.google.dev/gemini-api/docs/audio, https://platform.openai.com/docs/pricing
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

Kind = Literal["image", "document", "audio", "video", "text"]

_IMAGE_MOST = {"openai": 6_000, "anthropic": 4_784, "bedrock": 4_784, "gemini": 2_240}
_SMALL_MODEL_IMAGE = 48_200
"""gpt-4o-mini multiplies tiles: 2,833 and 5,667 for each of at most eight."""
_LOW_DETAIL = {False: 300, True: 2_833}
_ORIGINAL_DETAIL = 10_000
_PIXELS_PER_TOKEN = 750
_PAGE_TOKENS = {"openai": 3_000 + 1_445, "anthropic": 3_000 + 1_600, "bedrock": 3_000 + 1_600, "gemini": 1_120}
_MOST_PAGES = {"openai": 100, "anthropic": 600, "bedrock": 600, "gemini": 1_000}
_AUDIO_PER_SECOND = {"openai": 10, "anthropic": 32, "bedrock": 32, "gemini": 32}
_LEAST_BYTES_PER_SECOND = 1_000
"""Of the thinnest MP3: 8 kbit/s."""
_TINY_IMAGE_TOKENS = 258

_BLOCKS: dict[str, Kind] = {
    "image": "image", "audio": "audio", "video": "video", "file": "document", "text-plain": "text", "media": "document",
}  # fmt: skip
_SOURCES = frozenset({"url", "base64", "data", "file_id", "id", "source_type"})

_DATA_URL = re.compile(r"data:(?P<type>[\w.+/-]*)[^,]*,")
_KINDS: tuple[tuple[str, Kind], ...] = (
    ("image", "image"), ("audio", "audio"), ("video", "video"), ("application/pdf", "document"), ("text", "text"),
)  # fmt: skip
_HEAD_CHARACTERS = 1_024


@dataclass(frozen=True, slots=True)
class Media:
    """One picture, document or sound. `data`: base64 or bytes where it stands in the request, else None."""

    kind: Kind
    data: str | bytes | None = None
    detail: str = ""


def media_of(part: Mapping[str, Any]) -> Media | None:
    """The picture, document or sound that a part is, in the shape of any API; None: it is something else."""
    kind = str(part.get("type", ""))
    if kind in {"image_url", "input_image", "computer_screenshot"}:
        return _openai_image(part)
    if kind == "input_audio":
        return Media("audio", _data(_mapping(part.get("input_audio") or part).get("data")))
    if kind == "input_file" or (kind == "file" and ("file" in part or "file_data" in part)):
        held = _mapping(part.get("file") or part)
        return _of_type(held.get("file_data"), "application/pdf")
    if kind in {"image", "document"} and "source" in part:
        return _sourced(part, "image" if kind == "image" else "document")
    if kind in _BLOCKS and not _SOURCES.isdisjoint(part):
        return _block(part, _BLOCKS[kind])
    for names in (("inlineData", "inline_data"), ("fileData", "file_data")):
        held = _mapping(next((part[name] for name in names if name in part), None))
        if held:
            said = str(held.get("mimeType") or held.get("mime_type") or "application/pdf")
            return Media(_kind_of(said), _data(held.get("data")), str(_resolution(part)))
    for name in ("image", "document", "video", "audio"):
        if "type" not in part and isinstance(part.get(name), Mapping):
            return _sourced(_mapping(part[name]), cast("Kind", name))
    return None


def media_bound(media: Media, family: str, model: str) -> int | None:
    """Most tokens of a picture, document or sound; None where its length is not known and nothing bounds it."""
    if media.kind == "image":
        return _image_bound(media, family, model)
    if media.kind == "document":
        return _PAGE_TOKENS[family] * _pages(media.data, family)
    if media.kind == "audio" and media.data is not None:
        return int(_seconds(media.data) + 1) * _AUDIO_PER_SECOND[family]
    return None


def raw_size(data: str | bytes) -> int:
    """Bytes of a medium that stands in a request."""
    return len(data) if isinstance(data, bytes) else len(data) * 3 // 4


def _openai_image(part: Mapping[str, Any]) -> Media:
    held = part.get("image_url")
    inner = _mapping(held)
    url = inner.get("url") if inner else held
    detail = str(inner.get("detail") or part.get("detail") or "")
    return Media("image", _data(url) if isinstance(url, str) and url.startswith("data:") else None, detail)


def _sourced(part: Mapping[str, Any], kind: Kind) -> Media | None:
    source = _mapping(part.get("source"))
    if source.get("type") == "content":
        return None  # its own parts are looked at one by one
    if source.get("type") == "text" or str(part.get("format", "")) in {"txt", "md", "csv", "html"}:
        return Media("text", _data(source.get("data") or source.get("bytes")))
    return Media(kind, _data(source.get("data") or source.get("bytes")))


def _block(part: Mapping[str, Any], kind: Kind) -> Media:
    """A block of LangChain, which has one shape for the media of every provider."""
    if part.get("source_type") == "text" or kind == "text":
        return Media("text", _data(part.get("text") or part.get("data") or part.get("base64")))
    said = part.get("mime_type")
    url = part.get("url")
    inline = url if isinstance(url, str) and url.startswith("data:") else None
    data = _data(part.get("base64") or part.get("data") or inline)
    return Media(_kind_of(said) if kind == "document" and isinstance(said, str) else kind, data)


def _of_type(value: object, otherwise: str) -> Media:
    match = _DATA_URL.match(value) if isinstance(value, str) else None
    return Media(_kind_of(match["type"] if match and match["type"] else otherwise), _data(value))


def _kind_of(mime: str) -> Kind:
    for start, kind in _KINDS:
        if mime.lower().startswith(start):
            return kind
    return "document"


def _resolution(part: Mapping[str, Any]) -> str:
    held = part.get("mediaResolution") or part.get("media_resolution")
    return str(_mapping(held).get("level") or held or "").lower()


def _data(value: object) -> str | bytes | None:
    if isinstance(value, str):
        match = _DATA_URL.match(value)
        return value[match.end() :] if match else value
    return bytes(value) if isinstance(value, bytes | bytearray) else None


def _image_bound(media: Media, family: str, model: str) -> int:
    small = family == "openai" and model.startswith("gpt-4o-mini")
    if family == "openai":
        if media.detail == "low":
            return _LOW_DETAIL[small]
        if small:
            return _SMALL_MODEL_IMAGE
        return _ORIGINAL_DETAIL if media.detail == "original" else _IMAGE_MOST[family]
    most = _IMAGE_MOST[family]
    size = _size_of(media.data)
    if size is None:
        return most
    if family == "gemini":
        return _TINY_IMAGE_TOKENS if max(size) <= 384 and not media.detail else most
    return min(most, -(-size[0] * size[1] // _PIXELS_PER_TOKEN) + 1)


def _size_of(data: str | bytes | None) -> tuple[int, int] | None:
    """Width and height of a PNG or GIF from its first bytes; None of another format, or where there are none."""
    head = _head(data)
    if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= 24:
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if head[:6] in {b"GIF87a", b"GIF89a"} and len(head) >= 10:
        return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    return None


def _head(data: str | bytes | None) -> bytes:
    if data is None:
        return b""
    return data[:_HEAD_CHARACTERS] if isinstance(data, bytes) else _decoded(data[:_HEAD_CHARACTERS])


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text[: len(text) // 4 * 4])
    except (Base64Error, ValueError):
        return b""


def _pages(data: str | bytes | None, family: str) -> int:
    """Pages of a PDF: as many as it says in the open, else the most that the API takes."""
    if data is None:
        return _MOST_PAGES[family]
    whole = data if isinstance(data, bytes) else _decoded(data)
    if not whole.startswith(b"%PDF") or b"/ObjStm" in whole:
        return _MOST_PAGES[family]
    found = len(re.findall(rb"/Type\s*/Page(?![A-Za-z])", whole))
    return min(found, _MOST_PAGES[family]) if found else _MOST_PAGES[family]


def _seconds(data: str | bytes) -> float:
    """Seconds of a sound: of a WAV by the rate that its head states, of another as thin as sound can be."""
    head, size = _head(data), raw_size(data)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE" and len(head) >= 32:
        rate = int.from_bytes(head[28:32], "little")
        if rate >= _LEAST_BYTES_PER_SECOND:
            return size / rate
    return size / _LEAST_BYTES_PER_SECOND


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
