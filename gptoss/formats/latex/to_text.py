"""LaTeX to text: the text of the printed paper, formulas as LaTeX between `$` and `$$`.

In: the source of one paper (`paper_source.py`: files included, comments removed, macros expanded). Out: its title, and
abstract, sections, lists, theorems, captions and footnotes as paragraphs. Citations, references and labels are removed,
with the brackets that they leave empty, and so are tables, pictures, listings and the bibliography; accents and symbols
become Unicode.
Errors: none, however broken the source is: what is not closed is read as plain text, unknown commands leave their
arguments, and nesting beyond `MAX_NESTING` is left out. Time is linear in the length of the source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gptoss.formats.latex import symbols
from gptoss.formats.latex.structure import ENVIRONMENT, OPTIONAL, Structure
from gptoss.formats.latex.tidy import MARK, tidied

# Each level of nesting is a few Python calls, and Python allows 1,000; real papers nest about ten levels.
MAX_NESTING = 60

# What the conversion interprets; everything between two tokens is copied. `\*` variants are read like the command.
TOKEN = re.compile(r"\\(?P<word>[A-Za-z@]+)\*?|\\(?P<char>.)|(?P<other>\$\$?|[{}~&]|``?|''|--+|\n ?\n\s*)", re.DOTALL)
# An inline formula up to its `$`, within one paragraph: a single `$` in the text must not swallow the rest.
INLINE = re.compile(r"((?:[^$\\\n]++|\\.|\n(?! ?\n))*+)\$", re.DOTALL)
LABELS = re.compile(r"\\(?:label|nonumber|notag)\b(?: ?\{[^{}]{0,200}\})?")
CAPTION = re.compile(r"\\caption(?:of)?\*?(?: ?\{(?:figure|table)\})?")
TITLE = re.compile(r"\\(?:title|Title)\*?(?: ?\[[^\[\]]{0,500}\])?\s*(?=\{)")
ABSTRACT = re.compile(r"\\abstract\s*(?=\{)")
DOCUMENT = re.compile(r"\\begin ?\{document\}")
NEW_THEOREM = re.compile(r"\\newtheorem\*?\s*\{([^{}]{1,60})\}\s*(?:\[[^\[\]]{0,60}\])?\s*\{([^{}\\]{1,60})\}")


def to_text(source: str) -> tuple[str, str]:
    """`(title, text)` of a paper; both may be empty."""
    source = source.replace(MARK, "")  # a source that contains the mark could forge citations
    structure = Structure(source)
    start = DOCUMENT.search(source)
    theorems = symbols.THEOREMS | dict(NEW_THEOREM.findall(source))
    converter = _Converter(structure, theorems)

    def argument(pattern: re.Pattern[str], end: int) -> str:
        found = pattern.search(source, 0, end)
        close = structure.closes.get(found.end()) if found else None
        return converter.converted(found.end() + 1, close) if found and close is not None else ""

    title = " ".join(argument(TITLE, len(source)).split())
    # Some classes have the abstract as a command before the document begins.
    above = argument(ABSTRACT, start.start()) if start else ""
    # The last one: a listing may contain another.
    end = source.rfind("\\end{document}")
    body = converter.converted(start.end() if start else 0, end if end > 0 else len(source))
    return title, tidied(f"{above}\n\n{body}")


@dataclass
class _Converter:
    """Converts ranges of one source. Methods that take a position return the position where to continue."""

    source: Structure
    theorems: dict[str, str]
    out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lists: list[int] = field(default_factory=list)
    """The number of the last item of each open list, -1 for a list without numbers."""

    def __post_init__(self) -> None:
        self.text = self.source.text

    def converted(self, start: int, end: int, depth: int = 0) -> str:
        """The text of a range, followed by its footnotes."""
        outside, self.out = self.out, []
        notes, self.notes = self.notes, []
        self.walk(start, end, depth)
        self._flush_notes()
        converted, self.out, self.notes = "".join(self.out), outside, notes
        return converted

    def walk(self, at: int, end: int, depth: int) -> None:
        """Append the text of a range to `out`."""
        if depth > MAX_NESTING:
            return
        text, out = self.text, self.out
        while (token := TOKEN.search(text, at, end)) is not None:
            if token.start() > at:
                out.append(text[at : token.start()].replace("\n", " "))
            if word := token["word"]:
                at = self._command(word, token.start(), token.end(), end, depth)
            elif char := token["char"]:
                at = self._escape(char, token.end(), end)
            else:
                at = self._other(token["other"], token.end(), end)
        if at < end:
            out.append(text[at:end].replace("\n", " "))

    def _other(self, token: str, at: int, end: int) -> int:
        if token[0] == "$":
            return self._math(token, at, end)
        if token[0] == "\n":
            self._paragraph()
        elif token[0] == "-":
            self.out.append({2: "–", 3: "—"}.get(len(token), token))
        else:
            self.out.append({"~": " ", "&": " ", "``": "“", "''": "”", "`": "‘"}.get(token, ""))
        return at

    def _paragraph(self) -> None:
        self._flush_notes()
        self.out.append("\n\n")

    def _flush_notes(self) -> None:
        if self.notes:
            notes, self.notes = self.notes, []
            self.out.extend(f"\n\n{note}" for note in notes)

    def _math(self, opening: str, at: int, end: int) -> int:
        if opening == "$$":
            return self._formula_until("$$", at, end, display=True)
        inline = INLINE.match(self.text, at, end)
        if inline is None:
            self.out.append("$")
            return at
        self._formula(inline[1], display=False)
        return inline.end()

    def _formula_until(self, closing: str, at: int, end: int, *, display: bool) -> int:
        """A formula up to its closing mark of two characters; without that, the opening mark is dropped."""
        close = self.source.find(closing, at)
        if not 0 <= close < end:
            return at
        self._formula(self.text[at:close], display=display)
        return close + 2

    def _formula(self, formula: str, *, display: bool) -> None:
        formula = _one_line(formula)
        self.out.append(f"\n$${formula}$$\n" if display else f"${formula}$")

    def _escape(self, char: str, at: int, end: int) -> int:
        if char in "([":
            return self._formula_until("\\)" if char == "(" else "\\]", at, end, display=char == "[")
        if char in symbols.COMBINING and (base := self.source.accent_base(at)):
            self.out.append(symbols.accented(char, base[0]))
            return base[1]
        self.out.append(symbols.ESCAPED.get(char, ""))
        if char == "\\" and (optional := OPTIONAL.match(self.text, at, end)):
            return optional.end()
        return at

    def _command(self, name: str, start: int, at: int, end: int, depth: int) -> int:
        if name in ("begin", "end"):
            return self._environment(name, start, end, depth)
        if len(name) == 1 and name in symbols.COMBINING and (base := self.source.accent_base(at)):
            self.out.append(symbols.accented(name, base[0]))
            return base[1]
        if name in symbols.SYMBOLS:
            self.out.append(symbols.SYMBOLS[name])
            if name == "par":
                self._flush_notes()
            return at + (self.text[at : at + 1] == " ")
        is_reference = name.endswith("ref") and name not in symbols.UNWRAPPED_LAST
        if is_reference or symbols.CITATION.match(name):
            self.out.append(MARK)
            return self.source.past_arguments(at, 1)
        if name in symbols.SECTIONS or name in symbols.RUN_IN or name in ("footnote", "footnotetext", "caption"):
            return self._titled(name, at, depth)
        if name == "item":
            return self._item(at, end)
        return self._plain_command(name, at, end)

    def _plain_command(self, name: str, at: int, end: int) -> int:
        """Commands that show nothing, or only one of their arguments."""
        text = self.text
        if name in symbols.UNWRAPPED_LAST:
            # The last argument stays in the source after `at` and is converted like the text around it.
            at = self.source.past_arguments(at, symbols.LEADING.get(name, 1))
            return optional.end() if (optional := OPTIONAL.match(text, at, end)) else at
        if (count := symbols.DROPPED.get(name)) is not None:
            return self.source.past_arguments(at, count)
        if name in ("url", "nolinkurl", "path", "ensuremath") and (close := self.source.group_end(at)) is not None:
            inside = text[text.index("{", at) + 1 : close]
            self.out.append(f"${_one_line(inside)}$" if name == "ensuremath" else inside.strip())
            return close + 1
        if name == "verb" and at < end:
            close = text.find(text[at], at + 1, min(end, at + 500))
            if close > 0:
                self.out.append(text[at + 1 : close])
                return close + 1
        if optional := OPTIONAL.match(text, at, end):
            at = optional.end()
        return at + (text[at : at + 1] == " ")

    def _titled(self, name: str, at: int, depth: int) -> int:
        """A heading, footnote or caption, which is a paragraph of its own."""
        if optional := OPTIONAL.match(self.text, at):
            at = optional.end()
        close = self.source.group_end(at)
        if close is None:
            return at
        inside = " ".join(self.converted(self.text.index("{", at) + 1, close, depth + 1).split())
        if name.startswith("footnote"):
            self.notes.append(inside)
        else:
            self._paragraph()
            self.out.append(f"{inside} " if name in symbols.RUN_IN else f"{inside}\n\n")
        return close + 1

    def _item(self, at: int, end: int) -> int:
        self._flush_notes()
        if self.lists and self.lists[-1] >= 0:
            self.lists[-1] += 1
            self.out.append(f"\n{self.lists[-1]}. ")
        else:
            self.out.append("\n- ")
        # `\item[(b)]`: the label replaces the bullet, without its formatting commands.
        label = re.compile(r" ?\[([^\[\]]{0,300})\]").match(self.text, at, end)
        if label and (words := re.sub(r"[$\\{}](?:[A-Za-z]+)?", "", label[1]).strip()):
            self.out.append(f"{words} ")
        return label.end() if label else at

    def _environment(self, command: str, start: int, end: int, depth: int) -> int:
        opening = ENVIRONMENT.match(self.text, start)
        if opening is None:
            return start + len(command) + 1
        name, at = opening[2], opening.end()
        close, after = self.source.environments.get(start, (end, end))
        if command == "end" or after > end or start not in self.source.environments:
            return at
        if name in symbols.MATH:
            formula = self.text[at:close]
            is_bare = name in symbols.BARE_MATH
            self._formula(formula if is_bare else f"\\begin{{{name}}}{formula}\\end{{{name}}}", display=True)
        elif name in symbols.FLOATS:
            self._captions(at, close, depth)
        elif name not in symbols.REMOVED:
            self._text_environment(name, at, close, depth)
        return after

    def _captions(self, at: int, end: int, depth: int) -> None:
        for caption in CAPTION.finditer(self.text, at, end):
            if caption.start() >= at:
                at = self._titled("caption", caption.end(), depth)

    def _text_environment(self, name: str, at: int, end: int, depth: int) -> None:
        optional = OPTIONAL.match(self.text, at, end)
        self._paragraph()
        if heading := self.theorems.get(name):
            note = self.converted(optional.start() + 1, optional.end() - 1, depth + 1).strip(" []") if optional else ""
            self.out.append(f"{heading} ({note}). " if note else f"{heading}. ")
        at = self.source.past_arguments(optional.end() if optional else at, symbols.WITH_ARGUMENT.get(name, 0))
        if name in symbols.LISTS:
            self.lists.append(0 if name in symbols.NUMBERED else -1)
        self.walk(at, end, depth + 1)
        if name in symbols.LISTS:
            self.lists.pop()
        self._paragraph()


def _one_line(formula: str) -> str:
    """A formula on one line, without labels and suppressed numbers."""
    return " ".join(LABELS.sub("", formula).split())
