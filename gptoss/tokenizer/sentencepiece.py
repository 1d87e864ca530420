"""SentencePiece BPE with byte fallback (Kudo and Richardson 2018), converted to the `tokenizers` format.

SentencePiece trains; the published tokenizer is a plain `tokenizer.json`, so no engine needs SentencePiece.
Training is told to leave text alone (identity normaliser, no dummy prefix, no whitespace clean-up), and the
conversion keeps the space itself in the pieces where SentencePiece writes U+2581: otherwise a text that
contains U+2581 would come back with a space in its place. Characters outside the vocabulary are spelled in
bytes, so every text comes back as it was.
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

SPACE = "\u2581"
RESERVED = re.compile("[\0\t\n\r\u2581\u2585]")
"""Characters SentencePiece keeps for itself (it drops a sentence that has one) and line ends: they cut the
training text, have no pieces, and are spelled in bytes."""
CHARACTER_COVERAGE = 0.9995
"""Share of the characters of the sample that get a piece of their own; the rest is spelled in bytes."""


def train(texts: Iterable[str], vocab_size: int, special_tokens: list[str]) -> Tokenizer:
    """A tokenizer of at most `vocab_size` tokens: `special_tokens` (ids 0 …), 256 bytes, then pieces.

    Raises `UserError` when the characters of the sample alone do not fit.
    """
    return convert(train_model(texts, vocab_size - len(special_tokens)), special_tokens)


def train_model(texts: Iterable[str], pieces: int) -> SentencePieceProcessor:
    """A SentencePiece model of `pieces` pieces, the 256 bytes among them. Raises `UserError`."""
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=_sentences(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=pieces + 1,  # SentencePiece insists on <unk>, which the conversion leaves out
            hard_vocab_limit=False,
            byte_fallback=True,
            character_coverage=CHARACTER_COVERAGE,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            split_digits=True,
            max_sentence_length=LONGEST_SENTENCE * 4,
            num_threads=1,  # the result must not depend on the machine
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


LONGEST_SENTENCE = 4_096
"""Characters; a longer line is trained on in parts of this length."""


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in RESERVED.split(text):
            for start in range(0, len(line), LONGEST_SENTENCE):
                yield line[start : start + LONGEST_SENTENCE]


def convert(model: SentencePieceProcessor, special_tokens: list[str]) -> Tokenizer:
    """The same segmentation as a `tokenizers` BPE: each piece becomes the merges that can make it, in the order
    in which SentencePiece learned the pieces.

    Text is cut at newlines, which no piece contains: that changes no segmentation, bounds the work of one
    merge, and keeps the newline that opens a chat message apart from the message.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    learned = [
        model.id_to_piece(piece).replace(SPACE, " ")
        for piece in range(model.get_piece_size())
        if not (model.is_byte(piece) or model.is_unknown(piece) or model.is_control(piece) or model.is_unused(piece))
    ]
    learned = [piece for piece in learned if piece not in {*bytes_, *special_tokens}]
    vocabulary = {token: number for number, token in enumerate([*special_tokens, *bytes_, *learned])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=_merges(learned), byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n"), behavior="isolated")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special_tokens])
    return tokenizer


def _merges(pieces: list[str]) -> list[tuple[str, str]]:
    """All pairs of pieces that join to a piece, the piece learned first in front.

    SentencePiece lists the learned pieces by falling score and the single characters after them; characters
    take no part here since no pair makes them.
    """
    rank = {piece: number for number, piece in enumerate(pieces)}
    merges: list[tuple[str, str]] = []
    for piece in pieces:
        pairs = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        known = [(left, right) for left, right in pairs if left in rank and right in rank]
        merges += sorted(known, key=lambda pair: (rank[pair[0]], rank[pair[1]]))
    return merges
