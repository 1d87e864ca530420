"""Accents and symbols of LaTeX as Unicode, and what the conversion to text does with each command."""

from __future__ import annotations

import re
import unicodedata


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Accent commands (`\"o`, `\c{c}`) to combining characters.
COMBINING = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306", ".": "\u0307",
    '"': "\u0308", "r": "\u030a", "H": "\u030b", "v": "\u030c", "d": "\u0323", "c": "\u0327", "k": "\u0328",
    "b": "\u0331",
}  # fmt: skip

SYMBOLS = {
    "ss": "ß", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "l": "ł",
    "L": "Ł", "i": "ı", "j": "ȷ", "dh": "ð", "DH": "Ð", "th": "þ", "TH": "Þ", "dj": "đ", "DJ": "Đ", "ng": "ŋ",
    "NG": "Ŋ", "S": "§", "P": "¶", "dag": "†", "ddag": "‡", "copyright": "©", "textcopyright": "©", "pounds": "£",
    "textregistered": "®", "texttrademark": "™", "textdegree": "°", "degree": "°", "dots": "…", "ldots": "…",
    "textellipsis": "…", "textendash": "–", "textemdash": "—", "textquoteleft": "‘", "textquoteright": "’",
    "textquotedblleft": "“", "textquotedblright": "”", "guillemotleft": "«", "guillemotright": "»", "glqq": "„",
    "grqq": "“", "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textunderscore": "_",
    "textbar": "|", "textless": "<", "textgreater": ">", "textbullet": "•", "textperiodcentered": "·",
    "textmu": "µ", "texteuro": "€", "euro": "€", "textsection": "§", "textdollar": "$", "textpm": "±",
    "texttimes": "×", "LaTeX": "LaTeX", "TeX": "TeX", "BibTeX": "BibTeX", "LaTeXe": "LaTeX2e", "quad": " ",
    "qquad": " ", "newline": "\n", "linebreak": " ", "par": "\n\n", "space": " ", "slash": "/", "checkmark": "✓",
    "no": "№", "lq": "‘", "rq": "’", "cdot": "·", "ie": "i.e.", "eg": "e.g.",
}  # fmt: skip
# A backslash and one character to the text that it shows.
ESCAPED = {
    "%": "%", "&": "&", "$": "$", "#": "#", "_": "_", "{": "{", "}": "}", " ": " ", "\n": " ", ",": " ", ";": " ",
    ":": " ", "!": "", "/": "", "-": "", "@": "", "\\": "\n", "*": "", "+": "", ">": "", "<": "", "|": "",
}  # fmt: skip

# Commands that the conversion interprets; a paper's own definition of one changes its look only and is ignored.
KNOWN = _names(
    "begin end section subsection subsubsection paragraph chapter part title author date caption label ref eqref "
    "cite citep citet item footnote maketitle thanks input include bibliography documentclass usepackage today "
    "and textbf textit emph thesection theequation abstract def newcommand if fi else proof endproof par"
)

# Headings of their own, and headings on the first line of a paragraph.
SECTIONS = _names("part chapter section subsection subsubsection")
RUN_IN = _names("paragraph subparagraph")

# Commands that show nothing, with the number of their arguments. One optional argument before each is dropped as well.
DROPPED = {
    "label": 1, "ref": 1, "eqref": 1, "pageref": 1, "autoref": 1, "cref": 1, "Cref": 1, "vref": 1, "nameref": 1,
    "bibliography": 1, "bibliographystyle": 1, "vspace": 1, "hspace": 1, "vskip": 0, "hskip": 0, "includegraphics": 1,
    "epsfbox": 1, "epsfig": 1, "psfig": 1, "plotone": 1, "plottwo": 2, "input": 1, "include": 1, "thispagestyle": 1,
    "pagestyle": 1, "pagenumbering": 1, "setcounter": 2, "addtocounter": 2, "setlength": 2, "addtolength": 2,
    "author": 1, "authorrunning": 1, "titlerunning": 1, "affil": 1, "affiliation": 1, "address": 1, "email": 1,
    "ead": 1, "institute": 1, "institution": 1, "date": 1, "thanks": 1, "altaffiliation": 1, "inst": 1, "orcid": 1,
    "correspondingauthor": 1, "altaffilmark": 1, "altaffiltext": 2, "footnotemark": 0, "hypersetup": 1, "color": 1,
    "definecolor": 3, "usepackage": 1, "RequirePackage": 1, "documentclass": 1, "documentstyle": 1, "markboth": 2,
    "markright": 1, "addcontentsline": 3, "numberwithin": 2, "newtheorem": 2, "theoremstyle": 1, "pacs": 1,
    "keywords": 1, "preprint": 1, "index": 1, "glossary": 1, "hyphenation": 1, "phantom": 1, "vphantom": 1,
    "hphantom": 1, "rule": 2, "graphicspath": 1, "fontfamily": 1, "renewenvironment": 3,
    "newenvironment": 3, "newcounter": 1, "newlength": 1, "newsavebox": 1, "settowidth": 2, "tikzset": 1,
    "pgfplotsset": 1, "usetikzlibrary": 1, "newif": 0, "captionsetup": 1, "enlargethispage": 1, "providecommand": 2,
    "newcommand": 2, "renewcommand": 2, "DeclareMathOperator": 2, "def": 0, "let": 0, "lstset": 1, "dedicatory": 1,
    "subjclass": 1, "curraddr": 1, "urladdr": 1, "PACS": 1, "received": 1, "accepted": 1, "setcitestyle": 1,
    "allowdisplaybreaks": 0, "ccsdesc": 1, "acmConference": 4, "acmDOI": 1, "acmISBN": 1, "copyrightyear": 1,
    "setcopyright": 1, "todo": 1, "selectlanguage": 1, "tag": 1, "nocite": 1, "hfill": 0, "title": 1,
}  # fmt: skip
# Commands whose last argument is text; `LEADING` has the number of arguments before it where that is not 1.
UNWRAPPED_LAST = _names(
    "textcolor colorbox href scalebox resizebox rotatebox parbox raisebox fontsize multicolumn multirow "
    "foreignlanguage hyperref makebox framebox adjustbox"
)
LEADING = {"resizebox": 2, "multicolumn": 2, "multirow": 2, "fontsize": 2, "hyperref": 0, "makebox": 0, "framebox": 0}
# Beginnings of the citation commands of LaTeX, natbib and biblatex.
CITATION = re.compile(r"(?:paren|foot|auto|text|super|full)?[Cc]ite")

MATH = _names(
    "equation equation* displaymath math eqnarray eqnarray* align align* gather gather* multline multline* "
    "flalign flalign* alignat alignat* dmath dmath* IEEEeqnarray IEEEeqnarray* empheq"
)
# Environments that need no `\begin` and `\end` inside `$$`.
BARE_MATH = _names("equation equation* displaymath math dmath dmath*")
# Environments of which only the captions are text.
FLOATS = _names(
    "figure figure* table table* wrapfigure wraptable sidewaysfigure sidewaystable SCfigure marginfigure "
    "longtable deluxetable deluxetable* supertabular algorithm algorithm* algorithm2e teaserfigure listing"
)
# Environments that are removed.
REMOVED = _names(
    "tabular tabular* tabularx tabulary tabbing array thebibliography tikzpicture pspicture picture filecontents "
    "filecontents* CCSXML comment algorithmic keywords keyword IEEEkeywords overpic axis forest tikzcd diagram "
    "references lstlisting verbatim minted"
)
LISTS = _names("itemize enumerate description compactitem compactenum inparaenum list trivlist enumerate* itemize*")
NUMBERED = _names("enumerate enumerate* compactenum inparaenum")
# Environments whose content is text, with the number of arguments before it.
WITH_ARGUMENT = {"minipage": 1, "multicols": 1, "adjustbox": 1, "spacing": 1, "list": 2, "tcolorbox": 0, "mdframed": 0}
# What LaTeX prints before the text of an environment; `\\newtheorem` adds to it.
THEOREMS = {
    "theorem": "Theorem", "thm": "Theorem", "lemma": "Lemma", "lem": "Lemma", "proposition": "Proposition",
    "prop": "Proposition", "corollary": "Corollary", "cor": "Corollary", "definition": "Definition",
    "defn": "Definition", "remark": "Remark", "rem": "Remark", "example": "Example", "proof": "Proof",
    "conjecture": "Conjecture", "claim": "Claim", "acknowledgments": "Acknowledgments",
    "acknowledgements": "Acknowledgements", "acknowledgment": "Acknowledgment", "ack": "Acknowledgments",
}  # fmt: skip


def accented(accent: str, base: str) -> str:
    """`accented('"', "o")` is ö; of several characters the first carries the accent."""
    # An accent replaces the dot of i and j, so LaTeX writes it over the dotless letters; Unicode composes dotted ones.
    base = {"ı": "i", "ȷ": "j"}.get(base, base)
    return unicodedata.normalize("NFC", base[:1] + COMBINING[accent] + base[1:]) if base else ""
