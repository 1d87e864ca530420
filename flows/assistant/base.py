"""What an assistant can be made of: checked before anything is read or trained."""

from __future__ import annotations

from pathlib import Path

from stages.errors import UserError
from stages.instruct import adapters
from stages.instruct.conversations import Conversation
from stages.instruct.examples import encode
from stages.pretrain.architectures import ARCHITECTURES
from stages.publish.configuration_files import MESSAGE_END
from stages.storage import read_json

EXCHANGE = Conversation("check", (("user", "Hello"), ("assistant", "Hello.")))


def require_teachable(base: Path) -> None:
    """A base that can be published again, and whose chat template ends what the assistant says with `MESSAGE_END`, at
    which the assistant will stop. Raises `UserError`, and `DataError` for a tokenizer that cannot chat."""
    found = read_json(base / "config.json").get("architectures")
    known = [stock.name for stock in ARCHITECTURES.values()]
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
