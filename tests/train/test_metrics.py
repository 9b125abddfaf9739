"""What is shown while training: the model's operations are counted right, and the GPU's peak known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from gpa.tokenize.sequences import TaskSequence
from gpa.train.metrics import LossBar, model_flops, peak_flops
from gpa.train.packing import collate, fill_row
from gpa.train.sizes import model_config, new_model


def row(*lengths: int, row_tokens: int):
    sequences = [TaskSequence(np.arange(1, length + 1, dtype=np.int32), 1) for length in lengths]
    return collate([fill_row(sequences, row_tokens, supervise_all=True)])


def test_operations_are_those_that_torch_counts():
    """Torch counts all of the attention of a sequence, half of which is masked."""
    batch = row(64, row_tokens=64)
    model = new_model("tiny", 0, attn_implementation="eager")
    with FlopCounterMode(display=False) as counter:
        model(input_ids=batch["input_ids"], logits_to_keep=63)
    config = model.config
    attention = 4 * 64**2 * config.num_attention_heads * config.head_dim * config.num_hidden_layers
    expected = counter.get_total_flops() - attention / 2
    assert model_flops(config, batch) / 3 == pytest.approx(expected, rel=1e-3)


def test_sequences_add_up_and_padding_costs_nothing():
    config = model_config("tiny")
    alone = [model_flops(config, row(length, row_tokens=length)) for length in (10, 30)]
    assert model_flops(config, row(10, 30, row_tokens=100)) == pytest.approx(sum(alone))


def test_the_peak_of_a_card_is_known_and_a_cpu_has_none():
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("NVIDIA A10G") == 70e12
    assert peak_flops("") is None


@pytest.mark.parametrize(
    ("peak", "shown"), [(1e12, {"loss", "tokens/s", "MFU"}), (None, {"loss", "tokens/s"})]
)
def test_speed_stands_beside_the_loss(peak, shown):
    state = SimpleNamespace(
        is_world_process_zero=True, max_steps=2, num_input_tokens_seen=0, total_flos=0
    )
    args = SimpleNamespace(world_size=1)
    bar = LossBar()
    bar.peak = peak
    bar.on_train_begin(args, state, None)
    state.num_input_tokens_seen, state.total_flos = 1000, 1e9
    bar.on_log(args, state, None, {"loss": 1.5})
    assert {part.split("=")[0] for part in bar.training_bar.postfix.split(", ")} == shown
    bar.on_train_end(args, state, None)
