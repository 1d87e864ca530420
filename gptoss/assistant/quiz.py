"""What a model knows of a company's documents: each fact is asked once, in the wording that was held out.

Two figures, by the same rule for any model, so that an assistant and the base it was made of stand side by side:
`choice`, how often the right answer is the likeliest a token of four, the other three being answers to other facts
(chance 25 %); and `rouge_l`, the F-measure of the longest common subsequence between what the model writes and the
right answer (Lin 2004), over words of any script.
"""

from __future__ import annotations

import random
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from gptoss.core.progress import progress
from gptoss.finetune.examples import encode
from gptoss.finetune.knowledge import Fact

if TYPE_CHECKING:
    from gptoss.finetune.conversations import Conversation

CHOICES = 4
MAX_NEW_TOKENS = 96
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+")
"""Of ROUGE: a run of letters and digits; Chinese and Japanese, which put no spaces, character by character."""


def ask(model: Any, tokenizer: Any, facts: list[Fact], *, seed: int, max_length: int) -> dict[str, Any]:
    """`{"choice", "chance", "rouge_l", "questions", "answers": [{question, expected, answer, chosen, rouge_l}]}`."""
    model.eval()
    answers = [
        _ask_one(model, tokenizer, number, facts, seed, max_length)
        for number in progress(range(len(facts)), "held-out questions", unit="question")
    ]
    count = len(answers)
    return {
        "choice": round(sum(answer["chosen"] for answer in answers) / count, 6),
        "chance": round(1 / min(CHOICES, count), 6),
        "rouge_l": round(sum(answer["rouge_l"] for answer in answers) / count, 6),
        "questions": count,
        "answers": answers,
    }


def _ask_one(model: Any, tokenizer: Any, number: int, facts: list[Fact], seed: int, max_length: int) -> dict[str, Any]:
    fact = facts[number]
    others = [other.answer for other in facts if other.answer != fact.answer]
    wrong = random.Random(f"{seed}/{fact.id}").sample(others, min(CHOICES - 1, len(others)))
    likelihoods = [_likelihood(model, tokenizer, fact.held_out, text, max_length) for text in (fact.answer, *wrong)]
    written = _write(model, tokenizer, fact.held_out, max_length)
    return {
        "question": fact.held_out,
        "expected": fact.answer,
        "answer": written,
        "chosen": likelihoods[0] == max(likelihoods),
        "rouge_l": round(rouge_l(fact.answer, written), 6),
    }


class Words:
    """The tokenizer of ROUGE for any language: its own keeps a to z and digits alone, and finds nothing in common in
    two equal texts in Russian. The same words for ASCII."""

    def tokenize(self, text: str) -> list[str]:
        return WORD.findall(unicodedata.normalize("NFC", text).lower())


def rouge_l(expected: str, written: str) -> float:
    """The F-measure of their longest common subsequence of words."""
    from rouge_score.rouge_scorer import RougeScorer

    return float(RougeScorer(["rougeL"], tokenizer=Words()).score(expected, written)["rougeL"].fmeasure)


def _likelihood(model: Any, tokenizer: Any, question: str, answer: str, max_length: int) -> float:
    """Mean log-likelihood a token of an answer, in nats."""
    import torch

    example, _ = encode(tokenizer, _conversation(question, answer), max_length)
    ids = torch.tensor([example["input_ids"]], device=model.device)
    labels = torch.tensor([example["labels"]], device=model.device)
    with torch.inference_mode():
        return -float(model(input_ids=ids, labels=labels).loss)


def _conversation(question: str, answer: str) -> Conversation:
    from gptoss.finetune.conversations import Conversation

    return Conversation("quiz", (("user", question), ("assistant", answer)))


def _write(model: Any, tokenizer: Any, question: str, max_length: int) -> str:
    import torch
    from transformers import GenerationConfig

    chat = [{"role": "user", "content": question}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    ids = inputs["input_ids"].to(model.device)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=max(1, min(MAX_NEW_TOKENS, max_length - ids.shape[1])),
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.inference_mode():
        output = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    text: str = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
    return text.strip()
