"""The chat template renders, and marks the assistant's answer."""

from __future__ import annotations

from gptoss.config.tokenizer import MESSAGE_END, MESSAGE_START
from gptoss.publish.gates.gate import Gate, GateInputs


class ChatTemplate(Gate):
    """Number of faults in the rendering of one question and one answer."""

    name = "chat_template"
    reason = "chat clients render prompts with it; a prompt that training never saw gives poor answers"
    reference = "ChatML; `return_assistant_tokens_mask` of transformers' `apply_chat_template`"

    def measure(self, inputs: GateInputs) -> tuple[float, str]:
        tokenizer = inputs.tokenizer
        question, answer = {"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Good day."}
        # transformers would raise, with a message about its own template format.
        if tokenizer.chat_template is None:
            return 1, "there is no chat_template.jinja"
        # The prompt is rendered without the answer, as at inference; the mask needs both.
        prompt = tokenizer.apply_chat_template([question], add_generation_prompt=True, tokenize=False)
        encoded = tokenizer.apply_chat_template(
            [question, answer], tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        marked = [token for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mask]
        checks = {
            "the question is not in the prompt": question["content"] in prompt,
            "the prompt does not open the assistant's turn": prompt.endswith(f"{MESSAGE_START}assistant\n"),
            # The closing token belongs to the answer: without a loss on it the model would not learn to stop.
            "the marked tokens are not the answer": tokenizer.decode(marked) == answer["content"] + MESSAGE_END,
        }
        faults = [fault for fault, holds in checks.items() if not holds]
        return len(faults), "chat_template.jinja: " + (
            "; ".join(faults) or "renders, and marks what the assistant says"
        )
