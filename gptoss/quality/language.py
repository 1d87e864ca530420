"""Language identification with resiliparse's fast detector: out-of-place ranks of hashed n-grams, linear in the length
of the text, 101 languages.

The detector is reliable on pages and unreliable on scraps: it names another language for 11 % of 250-character cuts of
English novels, papers and encyclopedia articles, for 1.7 % of 1,600-character cuts (mostly lists of names), for 0.04 %
of 2,000-character cuts of Shakespeare, and for 2 of 205 whole documents. When it errs, the true language is close
behind: in half the cases within 16 ranks, where the second language of a clear text is 100 ranks behind. Therefore:
- a wanted language within `MAX_RANK_DISTANCE` of the best one is preferred; the stop-word rule of Gopher still removes
  a foreign scrap that passes;
- for a text shorter than `MIN_CHARACTERS`, the language is the one that its source claims.

References: Bevendorff et al. 2018 (Elastic ChatNoir), resiliparse.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import pyarrow as pa
from resiliparse.parse.lang import detect_fast

# Ranks. Of non-English manual pages of 1,000 characters, 1.1 % more pass as English than with a distance of 0.
MAX_RANK_DISTANCE = 20
# Fifty words, the shortest text that Gopher's rules keep, have about this many characters.
MIN_CHARACTERS = 200
# The detector's answer when no profile is within rank 1200, its own limit: tables, numbers, noise.
UNKNOWN = "unknown"


def identify(text: str, wanted: Sequence[str]) -> str:
    """The language of a text as an ISO 639-1 code, or `unknown`."""
    # The profiles were learned from composed characters. `is_normalized` is a quick check that nearly all texts pass.
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    language, rank = detect_fast(text)
    if language in wanted or language == UNKNOWN:
        return str(language)
    nearest, nearest_rank = detect_fast(text, langs=list(wanted))
    return str(nearest if nearest != UNKNOWN and nearest_rank - rank <= MAX_RANK_DISTANCE else language)


def identify_all(texts: pa.Array, claimed: pa.Array, wanted: Sequence[str]) -> pa.Array:
    """The language of each text, string [texts]; `claimed` are the languages that the source claims."""
    pairs = zip(texts.to_pylist(), claimed.to_pylist(), strict=True)
    languages = [identify(text, wanted) if len(text) >= MIN_CHARACTERS else claim or UNKNOWN for text, claim in pairs]
    return pa.array(languages, pa.string())
