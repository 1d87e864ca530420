"""The folder as transformers loads it: class, special tokens, chat template."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from gptoss.config.tokenizer import SPECIAL_TOKENS
from gptoss.tokenizer.load_check import CONVERSATION, assistant_texts


def test_special_tokens_come_first_and_are_not_added(loaded: Any) -> None:
    assert type(loaded).__name__ in {"PreTrainedTokenizerFast", "TokenizersBackend"}  # one class, renamed in 5.0
    assert loaded.convert_ids_to_tokens([0, 1, 2, 3]) == SPECIAL_TOKENS
    assert sorted(loaded.all_special_ids) == [0, 1, 2, 3]
    assert (loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id) == (0, 0, 1)
    assert loaded.unk_token is None
    assert loaded.model_max_length == 256
    assert not set(loaded.encode("no control token")) & {0, 1, 2, 3}
    assert loaded.decode([0, *loaded.encode("a b"), 3], skip_special_tokens=True) == "a b"


def test_it_loads_the_same_beside_a_llama_configuration(saved: Path, loaded: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    beside = AutoTokenizer.from_pretrained(str(tmp_path))
    text = "  two  spaces\n\n\tand a tab"
    assert type(beside) is type(loaded)
    assert beside.encode(text) == loaded.encode(text)
    assert beside.decode(beside.encode(text)) == text
    beside.save_pretrained(tmp_path / "again")
    again = AutoTokenizer.from_pretrained(str(tmp_path / "again"))
    assert again.decode(again.encode(text)) == text
    assert assistant_texts(again, CONVERSATION) == assistant_texts(loaded, CONVERSATION)


def test_the_template_is_chatml(loaded: Any) -> None:
    chat = [{"role": "user", "content": "Hi\n"}, {"role": "assistant", "content": " Hello!\n"}]
    rendered = "<|im_start|>user\nHi\n<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
    assert loaded.apply_chat_template(chat, tokenize=False) == rendered
    prompt = loaded.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True)
    assert prompt == "<|im_start|>user\nHi\n<|im_end|>\n<|im_start|>assistant\n"


def test_a_prompt_has_the_tokens_of_training(loaded: Any) -> None:
    chat = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "Four."}]
    whole = loaded.apply_chat_template(chat, return_dict=True)["input_ids"]
    prompt = loaded.apply_chat_template(chat[:1], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert whole[: len(prompt)] == prompt
