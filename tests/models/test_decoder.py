"""The native decoder against the stock classes, pipeline stages against the whole model, and initial values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import hypothesis.strategies as st
import torch
from hypothesis import given

from gptoss.config.extensions import ARCHITECTURES
from gptoss.config.model import ModelConfig
from gptoss.config.settings import Settings
from gptoss.models.architecture import architecture
from gptoss.models.decoder import Decoder, hugging_face_config, initial_value, parameter_count
from gptoss.train.stage_assignment import split_layers
from tests.toy_model import VOCABULARY, initialised_decoder

LLAMA3 = {
    "type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}  # fmt: skip

YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    """Shapes of every architecture, with every rotary scaling."""
    architecture = draw(st.sampled_from(sorted(ARCHITECTURES)))
    kv_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 3)) if architecture == "llama" else 1
    heads = kv_heads * group
    head_dim = draw(st.sampled_from([8, 16, 32] if architecture == "gpt_neox" else [4, 10, 32]))
    return {
        "architecture": architecture, "hidden_size": heads * head_dim, "heads": heads, "kv_heads": kv_heads,
        "layers": draw(st.integers(1, 3)), "ffn_size": draw(st.integers(1, 70)), "context": draw(st.integers(1, 90)),
        "rope_theta": draw(st.sampled_from([500.0, 10000.0, 500000.0])),
        "rope_scaling": draw(st.sampled_from([None, {"type": "linear", "factor": 2.5}, LLAMA3, YARN])),
        "norm_eps": draw(st.sampled_from([1e-6, 1e-5])), "tie_embeddings": draw(st.booleans()),
    }  # fmt: skip


@given(shape=shapes(), seed=st.integers(0, 99))
@hypothesis.settings(max_examples=15, deadline=None, derandomize=True)
def test_logits_equal_those_of_the_stock_class_to_the_last_bit(shape: dict[str, Any], seed: int) -> None:
    """In float32, and with the weights rounded to float16 as they are published; and every parameter is counted."""
    from transformers import AutoConfig, AutoModelForCausalLM

    model = ModelConfig.model_validate(shape)
    native = Decoder(model, VOCABULARY, range(model.layers))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in native.named_parameters():
            parameter.copy_(initial_value(name, parameter.shape, model, seed))
            parameter.add_(torch.randn(parameter.shape), alpha=0.1)
    stock = AutoModelForCausalLM.from_config(AutoConfig.for_model(**hugging_face_config(model, VOCABULARY)))
    assert type(stock).__name__ == architecture(model.architecture).STOCK_CLASS
    tokens = torch.randint(0, VOCABULARY, (2, model.context))
    for published in (False, True):
        with torch.no_grad():
            for parameter in native.parameters():
                parameter.copy_(parameter.half().float() if published else parameter)
        stock.load_state_dict(native.state_dict(), strict=True)
        with torch.no_grad():  # with gradients, short contexts take `short_attention.py`, which rounds differently
            assert torch.equal(native(tokens), stock(tokens).logits)
    assert stock.num_parameters() == parameter_count(model, VOCABULARY)


def test_stages_in_sequence_are_the_whole_model(tiny: Callable[..., Settings]) -> None:
    settings = tiny()
    tokens = torch.randint(0, VOCABULARY, (2, settings.model.context))
    activations = tokens
    for layers in split_layers(settings.model, VOCABULARY, 2):
        activations = initialised_decoder(settings, layers)(activations)
    assert torch.equal(activations, initialised_decoder(settings, range(settings.model.layers))(tokens))


def test_parameters_depend_on_seed_and_name_alone(tiny: Callable[..., Settings]) -> None:
    settings = tiny()
    whole = initialised_decoder(settings, range(3)).state_dict()
    assert len({float(value.sum()) for name, value in whole.items() if "norm" not in name}) == 2 + 3 * 7
    for layers in split_layers(settings.model, VOCABULARY, 3):
        for name, value in initialised_decoder(settings, layers).state_dict().items():
            assert torch.equal(value, whole[name]), name
    other = initialised_decoder(settings, range(3), seed=2).state_dict()
    assert not torch.equal(other["lm_head.weight"], whole["lm_head.weight"])
    assert sum(value.numel() for value in whole.values()) == parameter_count(settings.model, VOCABULARY)
