"""What an assistant can be made of: checked before anything is read or trained."""

from __future__ import annotations

from pathlib import Path

from gptoss.config.tokenizer import MESSAGE_END
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import UserError
from gptoss.finetune import adapters
from gptoss.finetune.conversations import Conversation
from gptoss.finetune.examples import encode
from gptoss.models.architecture import stock_classes

EXCHANGE = Conversation("check", (("user", "Hello"), ("assistant", "Hello.")))


def require_teachable(base: Path) -> None:
    """A base that can be published again, and whose chat template ends what the assistant says with `MESSAGE_END`, at
    which the assistant will stop. Raises `UserError`, and `DataError` for a tokenizer that cannot chat."""
    found = read_json(base / "config.json").get("architectures")
    known = stock_classes()
    if found not in [[name] for name in known]:
        raise UserError(
            f"the model in {base} has architectures {found}, not one of {', '.join(known)}",
            "name another model with --base",
        )
    tokenizer = adapters.load_tokenizer(base, system_prompt="")
    example, _ = encode(tokenizer, EXCHANGE, adapters.UNBOUNDED)
    if tokenizer.get_vocab().get(MESSAGE_END) not in example["labels"]:
        raise UserError(
            f"what the assistant says does not end with the token {MESSAGE_END} in the chat template of {base}",
            f"name another model with --base, or give its tokenizer the token and its chat_template.jinja "
            f"{MESSAGE_END} before {{% endgeneration %}}",
        )
