"""The templates of Wikipedia that stand for words of a sentence, and the text that they show.

All other templates (infoboxes, citations, navigation, maintenance) are dropped. Without these few, sentences would have
gaps: "the tower is  high", "he was born  in 1802".
"""

from __future__ import annotations

from collections.abc import Callable

# Templates that show one of their unnamed arguments: its index, -1 for the last.
WORDS = {
    "nowrap": 0, "nobr": 0, "nobreak": 0, "lang": 1, "transl": -1, "transliteration": -1, "abbr": 0, "tooltip": 0,
    "small": 0, "smaller": 0, "big": 0, "mvar": 0, "math": 0, "em": 0, "strong": 0, "linktext": -1, "w": -1, "ipa": 0,
    "native name": 1, "keypress": 0, "smallcaps": 0, "sc": 0, "ill": 0, "interlanguage link": 0, "not a typo": 0,
    "as written": 0, "sic": 0, "iast": 0, "nihongo": 0, "nihongo2": 0, "visible anchor": 0, "vanchor": 0, "sup": 0,
    "sub": 0, "var": 0, "dfn": 0, "flag": 0, "flagcountry": 0, "val": 0, "noitalic": 0, "nobold": 0, "resize": -1,
}  # fmt: skip
QUOTES = frozenset(["quote", "cquote", "blockquote", "quotation", "centered pull quote", "bquote", "quote box"])
LISTS = frozenset(["ordered list", "bulleted list", "unbulleted list", "ubl", "columns-list", "flatlist", "plainlist"])
# Templates that show a fixed text.
SIGNS = {
    "ndash": "–", "mdash": "—", "spaced ndash": " – ", "snd": " – ", "snds": " – ", "spnd": " – ", "dash": "–",
    "spaced mdash": " — ", "mdashb": "—", "'": "'", "'s": "'s", "!": "|", "=": "=", "pi": "π", "spaces": " ",
    "nbsp": " ", "sp": " ", "thinsp": " ", "·": "·", "dot": "·", "minus": "−", "times": "×", "~": "~", "okina": "ʻ",
    "degree": "°", "carbon": "C", "hydrogen": "H", "oxygen": "O", "nitrogen": "N",
}  # fmt: skip
# Templates that show a fixed text before their first argument.
PREFIXES = {
    "circa": "c. ", "c.": "c. ", "ca.": "c. ", "floruit": "fl. ", "fl.": "fl. ", "born": "b. ", "died": "d. ",
    "ad": "AD ", "as of": "As of ", "uss": "USS ", "hms": "HMS ",
}  # fmt: skip
# `{{convert|10|km|mi}}`: the converted value is dropped, as templates cannot be evaluated here.
MEASURES = frozenset(["convert", "cvt"])
FRACTIONS = frozenset(["frac", "fraction", "sfrac"])
# Words between the two values of a range in `convert`.
RANGE_WORDS = frozenset(["to", "-", "–", "and", "by", "x", "×", "or"])
WITH_ARGUMENTS = frozenset([*WORDS, *QUOTES, *LISTS, *MEASURES, *FRACTIONS, "chem"])


def expansion(name: str, arguments: Callable[[], list[str]]) -> str:
    """The text that a template shows. `name` is in lower case. `arguments` returns the unnamed arguments; it is a
    function because splitting them is wasted work for most templates."""
    if name in SIGNS:
        return SIGNS[name]
    if name in PREFIXES:
        return PREFIXES[name] + "".join(arguments()[:1])
    if name not in WITH_ARGUMENTS:
        return "".join(arguments()[:1]) if name.startswith("lang-") else ""
    shown = arguments()
    if not shown:
        return ""
    if name in WORDS:
        return shown[WORDS[name]] if WORDS[name] < len(shown) else shown[-1]
    if name in QUOTES:
        return f"\n\n{shown[0]}\n\n"
    if name in LISTS:
        return "\n" + "\n".join(f"- {item}" for item in shown) + "\n"
    if name in MEASURES:
        return _measure(shown)
    if name in FRACTIONS:
        return "/".join(shown[-2:]) if len(shown) < 3 else f"{shown[0]} {shown[1]}/{shown[2]}"
    return "".join(shown)


def _measure(arguments: list[str]) -> str:
    """`{{convert|10|km|mi}}` as "10 km", `{{convert|3|to|5|ft}}` as "3 to 5 ft"."""
    if len(arguments) > 3 and arguments[1] in RANGE_WORDS:
        between = arguments[1] if arguments[1] in ("-", "–") else f" {arguments[1]} "
        return f"{arguments[0]}{between}{arguments[2]} {arguments[3]}"
    return " ".join(arguments[:2])
