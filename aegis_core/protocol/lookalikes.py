"""Letters of other scripts that look like letters of the Latin alphabet.

A name or an intent with a Cyrillic ``о`` reads the same to a person and to a model, so it must read the same to a
rule. Width, mathematical and other styles of one letter are Unicode's own equivalences (NFKC); this is what they leave
out. Upper and lower case are listed apart because they look like different letters: ``Н`` is an H, ``н`` a small one.
"""

from __future__ import annotations

_LATIN = {
    "a": "аАαΑɑᴀꭺᎪꓮ⍺Ꭺ",
    "b": "ВвЬьβΒʙƄƅɓᏴᏼꓐᛒ",
    "c": "сСϲϹᴄⅽⲤⲥᏟꮯꓚ",
    "d": "ԁԀɗđĐᴅⅾᎠꭰꓓ",
    "e": "еЕεΕɛᴇєЄℯᎬꭼꓰ",
    "f": "ϝϜƒꜰꓝẝ",
    "g": "ɡɢԍԌᏀꮐꓖ",
    "h": "НнһҺΗʜħĦհᎻꮋꓧ",
    "i": "іІιΙıɩɪӀӏᎥꭵꓲ",
    "j": "јЈϳͿȷᴊᎫꭻꓙ",
    "k": "кКκΚᴋĸҚқᏦꮶꓗ",
    "l": "ʟłŁⅼᏞꮮꓡ",
    "m": "мМΜᴍϺⅿᎷꮇꓟ",
    "n": "ηΝɴՈոпПꓠ",
    "o": "оОοΟօՕᴏøØσⲞⲟꓳ",
    "p": "рРρΡᴘϸᏢꮲꓑ",
    "q": "ԛԚզԳʠ",
    "r": "гʀᴦᎡᏒꭱꮢꓣ",
    "s": "ѕЅꜱʂՏᏚᏕꮪꮥꓢ",
    "t": "тТτΤᴛŧŦᎢꭲꓔ",
    "u": "υսՍᴜʋꓴ",
    "v": "νѵѴᴠᏙꮩꓦ",
    "w": "ԝԜѡѠᴡωɯᎳꮃꓪ",
    "x": "хХχΧⅹꓫ",
    "y": "уУΥγүҮʏყᎩꭹꓬ",
    "z": "ΖᴢʐᏃꮓꓜ",
}


def _table() -> dict[int, str]:
    table = {ord(char): letter for letter, others in _LATIN.items() for char in others}
    for place in range(26):
        letter = chr(ord("a") + place)
        # Flags are spelt with regional letters; squared and circled white letters have no equivalence of their own.
        for first in (0x1F1E6, 0x1F150, 0x1F170):
            table[first + place] = letter
    return table


LOOKALIKES = _table()
"""For `str.translate`: from the look-alike to the lower-case Latin letter."""
