"""Encoding and decoding returns every text unchanged."""

from __future__ import annotations

from gptoss.publish.gates.gate import Gate, GateInputs

# White space, composed and decomposed characters, scripts of several directions, emoji sequences, control characters,
# code, and code points at the end of Unicode or without an assigned character.
UNICODE_SAMPLES = (
    "The quick brown fox jumps over the lazy dog.",
    "  leading, trailing and   inner spaces  ",
    "tabs\tnewlines\n\n\r\nand\u00a0no-break spaces",
    "naïve café — “quotes”, ‘more’… 12,345.67 €",
    "Ελληνικά, кириллица, עברית, العربية, हिन्दी, 中文, 日本語, 한국어",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈 e\u0301 ﷽ \u200b\u200d\ufeff \u0001\u007f",
    "def f(x):\n    return {'a': [1, 2]}  # code",
    "\U0010ffff\ue000\ufffd",
)
MAX_TEXT_CHARACTERS = 60


class TokenizerRoundTrip(Gate):
    """Number of texts for which decode(encode(text)) != text."""

    name = "tokenizer_round_trip"
    reason = "a tokenizer that loses characters cannot be repaired after training"
    reference = "difficult Unicode texts, and the held-out text of this run"

    def measure(self, inputs: GateInputs) -> tuple[float, str]:
        tokenizer = inputs.tokenizer
        # Without special tokens: in a rendered document they are separators, not text.
        held_out = (tokenizer.decode(window, skip_special_tokens=True) for window in inputs.windows)
        texts = [*UNICODE_SAMPLES, *held_out]
        failed = [text for text in texts if tokenizer.decode(tokenizer(text)["input_ids"]) != text]
        shown = "".join(f"; {text!r}"[:MAX_TEXT_CHARACTERS] for text in failed)
        return len(failed), f"tokenizer.json on {len(texts)} texts{shown}"
