"""How much of a company's documents a model knows: each fact is asked once, in the wording that was held out.

Two figures, computed in the same way for the assistant and its base: `choice`, how often the right answer is the most
likely one per token out of four, the other three being answers to other facts (chance 25 %); and `rouge_l`, the
F-measure of the longest common subsequence of words between the generated and the right answer (Lin 2004).
"""

from __future__ import annotations

import random
import re
import unicodedata
from typing import Any

import torch
from rouge_score.rouge_scorer import RougeScorer
from transformers import GenerationConfig

from gptoss.config.tokenizer import MESSAGE_END
from gptoss.core.progress import progress
from gptoss.finetune.document_facts import Fact
from gptoss.finetune.examples import encode
from gptoss.finetune.messages import Conversation

CHOICES = 4
# Decimals of a stored figure.
DIGITS = 6
MAX_NEW_TOKENS = 96
# A run of letters and digits; in Chinese and Japanese, which put no spaces between words, a single character.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+")


def ask(model: Any, tokenizer: Any, facts: list[Fact], *, seed: int, max_length: int) -> dict[str, Any]:
    """`{"choice", "chance", "rouge_l", "questions", "answers": [{question, expected, answer, chosen, rouge_l}]}`."""
    model.eval()
    answers = [
        _ask_one(model, tokenizer, fact, facts, seed, max_length)
        for fact in progress(facts, "held-out questions", unit="question")
    ]
    count = len(answers)
    return {
        "choice": round(sum(answer["chosen"] for answer in answers) / count, DIGITS),
        # With fewer than four facts there are fewer choices.
        "chance": round(1 / min(CHOICES, count), DIGITS),
        "rouge_l": round(sum(answer["rouge_l"] for answer in answers) / count, DIGITS),
        "questions": count,
        "answers": answers,
    }


def _ask_one(model: Any, tokenizer: Any, fact: Fact, facts: list[Fact], seed: int, max_length: int) -> dict[str, Any]:
    others = [other.answer for other in facts if other.answer != fact.answer]
    # Seeded by the fact: base and assistant choose between the same four answers.
    wrong = random.Random(f"{seed}/{fact.id}").sample(others, min(CHOICES - 1, len(others)))
    likelihoods = [_likelihood(model, tokenizer, fact.held_out, text, max_length) for text in (fact.answer, *wrong)]
    generated = _generate(model, tokenizer, fact.held_out, max_length)
    return {
        "question": fact.held_out,
        "expected": fact.answer,
        "answer": generated,
        "chosen": likelihoods[0] == max(likelihoods),
        "rouge_l": round(rouge_l(fact.answer, generated), DIGITS),
    }


class _AnyScriptTokenizer:
    """Words of any script for `RougeScorer`."""

    # Its own tokenizer keeps a to z and digits only, so that two equal texts in Russian have nothing in common. For
    # ASCII text this one gives the same words.
    def tokenize(self, text: str) -> list[str]:
        return WORD.findall(unicodedata.normalize("NFC", text).lower())


def rouge_l(expected: str, generated: str) -> float:
    """The F-measure of their longest common subsequence of words."""
    scorer = RougeScorer(["rougeL"], tokenizer=_AnyScriptTokenizer())
    return float(scorer.score(expected, generated)["rougeL"].fmeasure)


def _likelihood(model: Any, tokenizer: Any, question: str, answer: str, max_length: int) -> float:
    """Mean log-likelihood of an answer per token, in nats."""
    # The mean: by the sum, the shortest answer would nearly always be the most likely.
    example, _ = encode(tokenizer, Conversation.exchange("quiz", question, answer), max_length)
    ids = torch.tensor([example["input_ids"]], device=model.device)
    labels = torch.tensor([example["labels"]], device=model.device)
    with torch.inference_mode():
        return -float(model(input_ids=ids, labels=labels).loss)


def _generate(model: Any, tokenizer: Any, question: str, max_length: int) -> str:
    """The model's greedy answer."""
    chat = [{"role": "user", "content": question}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    ids = inputs["input_ids"].to(model.device)
    # A complete configuration: that of the base may ask for sampling.
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max(1, min(MAX_NEW_TOKENS, max_length - ids.shape[1])),
        eos_token_id=tokenizer.convert_tokens_to_ids(MESSAGE_END),
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.inference_mode():
        output = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    text: str = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
    return text.strip()
