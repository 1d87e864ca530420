"""The definition of a word in `gptoss/quality/rules/words.py`, in plain Python."""

from __future__ import annotations

import re

from gptoss.quality.rules import characters as ch
from gptoss.quality.rules.affixes import UNITS
from gptoss.quality.rules.tokenizer_exceptions import tokenizer_exceptions
from gptoss.quality.rules.words import LONGEST_JOIN

CLASSES = ch.class_table()
EXCEPTIONS = tokenizer_exceptions()
# As a set of a regular expression: letters without case, as of Chinese, count as lower case.
LOWER = "[" + "".join(re.escape(chr(code)) for code in range(len(CLASSES)) if CLASSES[code] & ch.LOWER) + "]"
NAME = "[A-Za-z0-9\u00a1-\uffff](?:[A-Za-z0-9\u00a1-\uffff_-]{0,62}[A-Za-z0-9\u00a1-\uffff])?"
ADDRESS = re.compile(
    rf"(?:[A-Za-z0-9+.\-_\u0080-\U0010ffff]{{2,}}://)?(?:.+@)?(?:{NAME}\.)+{LOWER}{{2,63}}(?::[0-9]{{2,5}})?(?:[/?#].*)?",
    re.DOTALL,
)
DASH = re.compile("-{1,3}|—{1,2}|–|~")


def is_(character: str, kind: int) -> bool:
    """Is it one character, and of this class?"""
    return len(character) == 1 and bool(CLASSES[ord(character)] & kind)


def words(text: str) -> list[str]:
    return [word for run in text.split() for word in split_run(run)]


def split_run(run: str) -> list[str]:
    kinds = [any(is_(character, kind) for character in run) for kind in (ch.NOT_PLAIN, ch.ALPHABETIC, ch.DIGIT)]
    if kinds in ([False, True, False], [False, False, True]):
        return list(EXCEPTIONS.get(run, (run,)))
    prefixes: list[str] = []
    suffixes: list[str] = []
    while run and run not in EXCEPTIONS:
        prefix = prefix_of(run)
        rest = run[len(prefix) :]
        suffix = suffix_of(rest)
        if prefix and rest in EXCEPTIONS:
            prefixes, run = [*prefixes, prefix], rest
        elif suffix and run.removesuffix(suffix) in EXCEPTIONS:
            suffixes, run = [suffix, *suffixes], run.removesuffix(suffix)
        elif prefix or suffix:
            prefixes += [prefix] * bool(prefix)
            suffixes = [suffix] * bool(suffix) + suffixes
            run = rest.removesuffix(suffix)
        else:
            break
    pieces = [*prefixes, *(split_core(run) if run else []), *suffixes]
    return join_exceptions(pieces) if len(pieces) > 1 else pieces


def prefix_of(word: str) -> str:
    if is_(word[:1], ch.PREFIX):
        return word[0]
    found = re.match(r"\+(?![0-9])|\.\.+|US\$|[AC]\$", word)
    return found.group() if found else ""


def suffix_of(word: str) -> str:
    if full_stops := re.search(r"\.+\Z", word):
        if len(full_stops.group()) > 1 or is_(word[-2:-1], ch.BEFORE_DOT):
            return full_stops.group()
        return "." if is_(word[-2:-1], ch.UPPER) and is_(word[-3:-2], ch.UPPER) else ""
    if is_(word[-1:], ch.SUFFIX):
        return word[-1]
    if found := re.search("['’][sS]\\Z", word):
        return found.group()
    if is_(word[-2:-1], ch.DIGIT) and (word[-1] == "+" or is_(word[-1], ch.CURRENCY)):
        return word[-1]
    found = re.search(rf"(?<=[0-9])(?:{'|'.join(UNITS.split())})\Z", word)
    return found.group() if found else ""


def split_core(core: str) -> list[str]:
    if core in EXCEPTIONS or ADDRESS.fullmatch(core):
        return list(EXCEPTIONS.get(core, (core,)))
    pieces: list[str] = []
    start = at = 0
    while at < len(core):
        infix = infix_at(core, at)
        if infix and at:  # at the start there is nothing to separate
            before = core[start:at]
            pieces += [*(EXCEPTIONS.get(before, (before,)) if before else ()), infix]
            start = at + len(infix)
        at += max(len(infix), 1)
    return [*pieces, *EXCEPTIONS.get(core[start:], (core[start:],))] if start < len(core) else pieces


def infix_at(core: str, at: int) -> str:
    character, before, after = core[at], core[at - 1 : at] if at else "", core[at + 1 : at + 2]
    letter_or_digit = is_(before, ch.ALPHABETIC | ch.DIGIT)
    full_stops = re.compile(r"\.\.+").match(core, at)
    if full_stops:
        return full_stops.group()
    if character == "…" or is_(character, ch.ICON):
        return character
    if character == ".":
        return character if is_(before, ch.LOWER | ch.QUOTE) and is_(after, ch.UPPER | ch.QUOTE) else ""
    if character in "+-*^" and is_(before, ch.DIGIT) and (is_(after, ch.DIGIT) or after == "-"):
        return character
    if character == ",":
        return character if is_(before, ch.ALPHABETIC) and is_(after, ch.ALPHABETIC) else ""
    if dash := DASH.match(core, at):
        follows = core[dash.end() : dash.end() + 1]
        return dash.group() if letter_or_digit and is_(follows, ch.ALPHABETIC) else ""
    return character if character in ":<>=/" and letter_or_digit and is_(after, ch.ALPHABETIC) else ""


def join_exceptions(pieces: list[str]) -> list[str]:
    joined: list[str] = []
    at = 0
    while at < len(pieces):
        for end in range(min(len(pieces), at + LONGEST_JOIN + 1), at + 1, -1):
            together = "".join(pieces[at:end])
            if together in EXCEPTIONS:
                joined += [together] if EXCEPTIONS[together] == (together,) else pieces[at:end]
                at = end
                break
        else:
            joined.append(pieces[at])
            at += 1
    return joined
