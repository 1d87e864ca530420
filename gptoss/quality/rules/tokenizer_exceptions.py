"""Words that the tokenizer keeps whole or splits at fixed places: contractions, abbreviations, emoticons.

The list is that of spaCy's English tokenizer (`spacy.lang.en.tokenizer_exceptions`, MIT), written as the products that
generate it. A word is given as its pieces, separated by `|`.
"""

from __future__ import annotations

from collections.abc import Iterator

WHOLE = """
' '' \\") <space> C++ \\t \\n — ‘S ‘s 'S 's and/or w/o 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz
'bout ma'am Ma'am o'clock O'clock em 'em ll 'll nuff 'nuff 'd a.m. p.m. Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo.
Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan. Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. N.C. N.D.
N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa. S.C. Sep. Sept. Tenn. Va. Wash. Wis. Adm. Bros. co. Co.
Corp. D.C. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. Ph.D. Prof.
Rep. Rev. Sen. St. vs. v.s. ä. ö. ü. a. b. c. d. e. f. g. h. i. j. k. l. m. n. o. p. q. r. s. t. u. v. w. x. y. z.
"""
EMOTICONS = r"""
:) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :(( :-((
:((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 :() >:o :*
:-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__-
v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<)
(*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) ¯\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>
"""
SPLIT = """
y'|all y|all how|'d|'y How|'d|'y not|'ve not|ve Not|'ve Not|ve can|not Can|not gon|na Gon|na got|ta Got|ta let|'s
Let|'s c'm|on C'm|on °|c|. °|f|. °|k|. °|C|. °|F|. °|K|. i|'m i|m i|'m|a i|m|a I|'m I|m I|'m|a I|m|a
"""
# Also with a capital, and with an apostrophe at the end.
CLIPPED = "doin goin nothin nuthin ol somethin lovin havin"
# Follow pronouns and question words; question words also take `ENDINGS_MORE`, and those of the singular `'s` and `s`.
ENDINGS = "'ll ll 'll|'ve ll|ve 'd d 'd|'ve d|ve"
ENDINGS_MORE = "'re re 've ve"
PRONOUNS = {
    "i": "'ve ve", "you": "'ve ve 're re", "he": "'s s", "she": "'s s", "it": "'s s", "we": "'ve ve 're re",
    "they": "'ve ve 're re",
}  # fmt: skip
QUESTIONS = "who what when where why how there that this these those"
NEGATED = "ca could do does did had may might must need ought sha should wo would"
NEGATED_ONLY = "ai are is was were have has dare"
MODALS = "could might must should would"
# Contractions without apostrophe that are also words ("ill", "shell"): spaCy takes them out of the products again.
NOT_SPLIT = "Ill ill Its its Hell hell Shell shell Shed shed were Were Well well Whore whore"


def tokenizer_exceptions() -> dict[str, tuple[str, ...]]:
    """The pieces of each exception; words with an apostrophe are listed with both `'` and `’`."""
    found: dict[str, tuple[str, ...]] = {word: (word,) for word in EMOTICONS.split()}
    for entry in _entries():
        split = tuple(entry.split("|"))
        found["".join(split)] = split
    for word in NOT_SPLIT.split():
        found.pop(word, None)
    for word, split in list(found.items()):
        if "'" in word:
            found[word.replace("'", "’")] = tuple(piece.replace("'", "’") for piece in split)
    return found


def _entries() -> Iterator[str]:
    yield from (*WHOLE.split(), *SPLIT.split())
    for word in CLIPPED.split():
        for cased in (word, word.title()):
            yield from (cased, f"{cased}'")
    for hour in range(1, 13):
        yield from (f"{hour}|{half}" for half in ("a.m.", "am", "p.m.", "pm"))
    for word, more in PRONOUNS.items():
        yield from _with_endings(word, f"{ENDINGS} {more}")
    for word in QUESTIONS.split():
        plural = word in ("these", "those")
        yield from _with_endings(word, ENDINGS if word in ("that", "this") else f"{ENDINGS} {ENDINGS_MORE}")
        if not plural:
            yield from _with_endings(word, "'s s")
    for word in NEGATED.split():
        yield from _with_endings(word, "n't nt n't|'ve nt|ve")
    for word in MODALS.split():
        yield from _with_endings(word, "'ve ve")
    for word in NEGATED_ONLY.split():
        yield from _with_endings(word, "n't nt")


def _with_endings(word: str, endings: str) -> Iterator[str]:
    for cased in (word, word.title()):
        yield from (f"{cased}|{ending}" for ending in endings.split())
