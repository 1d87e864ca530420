"""SentencePiece BPE with byte fallback, converted to the format of the library `tokenizers`.

SentencePiece trains; the published tokenizer is a plain `tokenizer.json`, so inference engines do not need
SentencePiece. Two choices make it lossless: training does not alter text (identity normaliser, no dummy prefix, no
whitespace clean-up), and the conversion stores a space as a space where SentencePiece writes U+2581. With the original
marker, a text that contains U+2581 would decode with a space in its place. Characters outside the vocabulary are
encoded as bytes.

References: Kudo and Richardson 2018.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gptoss.core.errors import UserError

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer

# Name of the algorithm in the model card.
DESCRIPTION = "SentencePiece BPE with byte fallback"
# SentencePiece's marker of a space.
SPACE = "\u2581"
# Line ends, and characters that SentencePiece uses internally (it drops every sentence that contains one). They
# separate training sentences, get no pieces, and are encoded as bytes.
RESERVED = re.compile("[\0\t\n\r\u2581\u2585]")
# Share of the sample's characters that get a piece of their own; the others are encoded as bytes. 0.9995 is
# SentencePiece's recommendation for corpora with large character sets.
CHARACTER_COVERAGE = 0.9995
# Longer lines are split: SentencePiece's default drops sentences above 4,192 bytes.
MAX_SENTENCE_CHARACTERS = 4_096
# UTF-8.
MAX_BYTES_PER_CHARACTER = 4


def train(texts: Iterable[str], vocab_size: int, special_tokens: list[str]) -> Tokenizer:
    """Train a tokenizer of at most `vocab_size` tokens: `special_tokens` (ids 0 …), the 256 bytes, then pieces.

    Errors: `UserError` when the characters of the sample alone exceed the vocabulary.
    """
    return convert(train_model(texts, vocab_size - len(special_tokens)), special_tokens)


def train_model(texts: Iterable[str], pieces: int) -> SentencePieceProcessor:
    """Train a SentencePiece model of `pieces` pieces, including the 256 bytes.

    Errors: `UserError` when SentencePiece rejects the sample.
    """
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=_sentences(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=pieces + 1,  # SentencePiece requires <unk>, which the conversion drops
            hard_vocab_limit=False,
            byte_fallback=True,
            character_coverage=CHARACTER_COVERAGE,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            split_digits=True,
            max_sentence_length=MAX_SENTENCE_CHARACTERS * MAX_BYTES_PER_CHARACTER,
            num_threads=1,  # with several threads the result depends on the machine
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"SentencePiece cannot train {pieces} pieces on this sample: {error}",
            "raise tokenizer.vocab_size or tokenizer.sample_bytes, or set tokenizer.algorithm to bpe",
        ) from error
    return SentencePieceProcessor(model_proto=model.getvalue())


def convert(model: SentencePieceProcessor, special_tokens: list[str]) -> Tokenizer:
    """Convert a SentencePiece model to a `tokenizers` BPE that segments text in the same way."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    byte_tokens = [f"<0x{value:02X}>" for value in range(256)]
    pieces = [
        model.id_to_piece(number).replace(SPACE, " ")
        for number in range(model.get_piece_size())
        if not (
            model.is_byte(number) or model.is_unknown(number) or model.is_control(number) or model.is_unused(number)
        )
    ]
    # Text that spells out a byte token or a special token can be learned as a piece; two tokens cannot share a name.
    pieces = [piece for piece in pieces if piece not in {*byte_tokens, *special_tokens}]
    vocabulary = {token: number for number, token in enumerate([*special_tokens, *byte_tokens, *pieces])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=_merges(pieces), byte_fallback=True))
    # No piece contains a newline, so splitting there changes no segmentation. It bounds the work of one merge, and
    # keeps the newline that opens a chat message apart from the message, which the assistant mask needs.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n"), behavior="isolated")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special_tokens])
    return tokenizer


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in RESERVED.split(text):
            for start in range(0, len(line), MAX_SENTENCE_CHARACTERS):
                yield line[start : start + MAX_SENTENCE_CHARACTERS]


def _merges(pieces: list[str]) -> list[tuple[str, str]]:
    """Return all pairs of pieces that concatenate to a piece, in the order in which the pieces were learned.

    SentencePiece stores a score per piece and no merges; it merges the adjacent pair whose result has the best score.
    Listing every pair that makes a piece, best piece first, reproduces that choice with ranked merges.
    """
    # Learned pieces are sorted by falling score, with single characters after them: no pair makes a character.
    rank = {piece: number for number, piece in enumerate(pieces)}
    merges: list[tuple[str, str]] = []
    for piece in pieces:
        pairs = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        known = [(left, right) for left, right in pairs if left in rank and right in rank]
        merges += sorted(known, key=lambda pair: (rank[pair[0]], rank[pair[1]]))
    return merges
