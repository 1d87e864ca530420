"""Checks of the base model of an assistant, before anything is read or trained."""

from __future__ import annotations

from pathlib import Path

from gptoss.config.tokenizer import MESSAGE_END
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import UserError
from gptoss.finetune import adapters
from gptoss.finetune.examples import encode
from gptoss.finetune.messages import Conversation
from gptoss.models.architecture import stock_classes

EXCHANGE = Conversation.exchange("check", "Hello", "Hello.")


def require_trainable(base: Path) -> None:
    """Check that the base can be published again, and that its chat template ends an answer with `MESSAGE_END`. Raises
    `UserError`, and `DataError` for a tokenizer that cannot chat."""
    architectures = read_json(base / "config.json").get("architectures")
    known = stock_classes()
    if architectures not in [[name] for name in known]:
        raise UserError(
            f"the model in {base} has architectures {architectures}, not one of {', '.join(known)}",
            "name another model with --base",
        )
    tokenizer = adapters.load_tokenizer(base, system_prompt="")
    example, _ = encode(tokenizer, EXCHANGE, adapters.NO_LIMIT)
    # The published folder and the server stop at this token: an assistant that never learned it would not stop.
    if tokenizer.get_vocab().get(MESSAGE_END) not in example["labels"]:
        raise UserError(
            f"what the assistant says does not end with the token {MESSAGE_END} in the chat template of {base}",
            f"name another model with --base, or give its tokenizer the token and its chat_template.jinja "
            f"{MESSAGE_END} before {{% endgeneration %}}",
        )
