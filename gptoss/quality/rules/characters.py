"""What the quality rules need to know about a character: one table of bit sets, indexed by code point.

Letters, marks and symbols are the Unicode categories (as `str.isalpha` and `unicodedata.category`). The lists of
punctuation are copied, so that words and decisions agree with theirs, from spaCy's English tokenizer
(`spacy.lang.char_classes`, MIT) and datatrove's filters (`datatrove.utils.text`, Apache-2.0).
"""

from __future__ import annotations

import functools
import sys
import unicodedata

import numpy as np

from gptoss.quality.rules.compiled import UInt32s

SPACE = 1 << 0  # str.isspace: separates words
BREAK = 1 << 1  # ends a line for str.splitlines
ALPHABETIC = 1 << 2  # str.isalpha
LOWER = 1 << 3  # lower case letters, and letters of scripts without case
UPPER = 1 << 4  # upper case letters, and letters of scripts without case
DIGIT = 1 << 5  # 0 to 9
PREFIX = 1 << 6  # is split off the start of a word
SUFFIX = 1 << 7  # is split off the end of a word
QUOTE = 1 << 8
BEFORE_DOT = 1 << 9  # a final full stop after it is a word of its own
ICON = 1 << 10  # always a word of its own: dingbats, arrows, emoji (Unicode So)
CURRENCY = 1 << 11
NOT_SYMBOL = 1 << 12  # not in datatrove's list of symbols: a run without such a character does not count as a word
NOT_PUNCTUATION = 1 << 13  # not in the Unicode categories P*
TERMINAL = 1 << 14  # ends a sentence (Unicode Sentence_Terminal)
NOT_PLAIN = 1 << 15  # neither letter nor digit: words that contain it take the slow path of the tokenizer

# spaCy's lists.
PUNCTUATION = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧"
MONEY = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"
# datatrove's list: a word of these (with control characters and `SENTENCE_TERMINALS`) does not count as a word.
SYMBOLS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~«´»–—’“”„…∶━►、。〈〉《》「」【】！％（）～，．１：；？"
# Unicode Sentence_Terminal: ranges of hexadecimal code points. Python's `unicodedata` does not have the property.
SENTENCE_TERMINALS = (
    "21,2E,3F,589,61D-61F,6D4,700-702,7F9,837,839,83D-83E,964-965,104A-104B,1362,1367-1368,166E,1735-1736,17D4-17D6,"
    "17D9-17DA,1803,1809,1944-1945,1AA8-1AAB,1B5A-1B5B,1B5E-1B5F,1B7D-1B7E,1C3B-1C3C,1C7E-1C7F,203C-203D,2047-2049,"
    "2E2E,2E3C,2E53-2E54,3002,A4FF,A60E-A60F,A6F3,A6F7,A876-A877,A8CE-A8CF,A92F,A9C8-A9C9,AA5D-AA5F,AAF0-AAF1,ABEB,"
    "FE52,FE56-FE57,FF01,FF0E,FF1F,FF61,10A56-10A57,10F55-10F59,10F86-10F89,11047-11048,110BE-110C1,11141-11143,"
    "111C5-111C6,111CD,111DE-111DF,11238-11239,1123B-1123C,112A9,1144B-1144C,115C2-115C3,115C9-115D7,11641-11642,"
    "1173C-1173E,11944,11946,11A42-11A43,11A9B-11A9C,11C41-11C42,11EF7-11EF8,11F43-11F44,16A6E-16A6F,16AF5,"
    "16B37-16B38,16B44,16E98,1BC9F,1DA88"
)
LINE_BREAKS = "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
CONTROLS = [*range(9), *range(11, 32), *range(127, 160)]
FIRST_AFTER_SPACES = 0x3001  # the last white space character is U+3000


@functools.cache
def class_table() -> UInt32s:
    """The bit set of every code point, uint32 [1114112]; computed once per process, in 0.2 s."""
    categories = np.array([unicodedata.category(chr(code)) for code in range(sys.maxunicode + 1)])
    major = categories.astype("U1")
    bits = np.zeros(len(categories), dtype=np.uint32)
    bits[major == "L"] |= ALPHABETIC
    bits[(major == "L") & (categories != "Lu") & (categories != "Lt")] |= LOWER
    bits[np.isin(categories, ("Lu", "Lt", "Lo"))] |= UPPER
    bits[categories == "So"] |= ICON | PREFIX | SUFFIX
    bits[major != "P"] |= NOT_PUNCTUATION
    bits[major != "L"] |= NOT_PLAIN
    bits[[code for code in range(FIRST_AFTER_SPACES) if chr(code).isspace()]] |= SPACE
    bits[_codes(LINE_BREAKS)] |= BREAK
    digits = _codes("0123456789")  # not the digits of other scripts, which spaCy's rules for numbers ignore
    bits[digits] |= DIGIT
    bits[digits] &= ~np.uint32(NOT_PLAIN)
    bits[_codes(PUNCTUATION + QUOTES + MONEY + "§%=—–")] |= PREFIX
    bits[_codes(PUNCTUATION + QUOTES + "—–")] |= SUFFIX
    bits[_codes(QUOTES)] |= QUOTE
    bits[_codes(MONEY)] |= CURRENCY
    bits[(bits & (DIGIT | LOWER)) != 0] |= BEFORE_DOT
    bits[_codes("%²-+|\\" + PUNCTUATION + QUOTES)] |= BEFORE_DOT
    terminals = _ranges(SENTENCE_TERMINALS)
    bits[terminals] |= TERMINAL
    not_symbol = np.ones(len(bits), dtype=np.bool_)
    not_symbol[[*_codes(SYMBOLS), *terminals, *CONTROLS]] = False
    bits[not_symbol] |= NOT_SYMBOL
    return bits


def _codes(characters: str) -> list[int]:
    return [ord(character) for character in characters]


def _ranges(text: str) -> list[int]:
    codes: list[int] = []
    for item in text.split(","):
        first, _, last = item.partition("-")
        codes.extend(range(int(first, 16), int(last or first, 16) + 1))
    return codes
