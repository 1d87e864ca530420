"""Attention within documents: position ids, masks, and packed windows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gptoss.config.settings import Settings
from gptoss.models.attention import causal_attention, document_mask, document_position_ids
from gptoss.models.decoder import Decoder, initial_value
from tests.training_runs import VOCABULARY

END_OF_TEXT = 0


def test_positions_restart_at_each_separator() -> None:
    tokens = torch.tensor([[9, 9, 0, 9, 9, 0, 0, 9], [0, 9, 9, 9, 9, 9, 9, 9]])
    assert document_position_ids(tokens, END_OF_TEXT).tolist() == [[0, 1, 0, 1, 2, 0, 0, 1], [0, 1, 2, 3, 4, 5, 6, 7]]


@pytest.mark.parametrize(("architecture", "kv_heads"), [("llama", 2), ("gpt_neox", 4)])
def test_a_packed_window_gives_the_logits_of_its_documents_alone(
    tiny: Callable[..., Settings], architecture: str, kv_heads: int
) -> None:
    shape = tiny(**{"model.architecture": architecture, "model.kv_heads": kv_heads}).model
    module = Decoder(shape, VOCABULARY, range(shape.layers)).double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(initial_value(name, parameter.shape, shape, 1))
    documents = [torch.randint(1, VOCABULARY, (1, length)) for length in (4, 1, 7, 4)]
    for document in documents[1:]:
        document[0, 0] = END_OF_TEXT
    packed = torch.cat(documents, dim=1)
    positions = document_position_ids(packed, END_OF_TEXT)
    alone = torch.cat([module(document) for document in documents], dim=1)
    torch.testing.assert_close(module(packed, positions), alone, rtol=0, atol=1e-12)
    assert (module(packed) - alone).abs().max() > 1e-3


def test_blocks_for_gpus_mean_what_the_dense_mask_means() -> None:
    positions = document_position_ids(torch.randint(0, 8, (2, 128)), END_OF_TEXT)
    q = torch.randn(2, 4, 128, 16)
    k, v = torch.randn(2, 2, 2, 128, 16)
    dense, blocks = (causal_attention(q, k, v, document_mask(positions, blocks=blocks)) for blocks in (False, True))
    torch.testing.assert_close(dense, blocks)
