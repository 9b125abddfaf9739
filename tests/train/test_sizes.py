"""Sizes are the published ones, and a checkpoint is taken for no other size."""

from __future__ import annotations

import pytest

from gpa.runtime.errors import UserError
from gpa.train.sizes import load_model, model_config, new_model, parameter_count


@pytest.mark.parametrize(("size", "parameters"), [("0.3b", 312_625_152), ("3b", 3_012_117_248)])
def test_published_sizes_have_exactly_their_parameters(size, parameters):
    assert parameter_count(size) == parameters


def test_most_of_tiny_is_its_embedding():
    assert 0.9 < 180_445 * model_config("tiny").hidden_size / parameter_count("tiny") < 1


def test_a_seed_gives_the_same_weights():
    first, second = (new_model("tiny", 7).state_dict() for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)


def test_a_checkpoint_is_written_and_read_without_bars(tmp_path, capfd):
    new_model("tiny", 7).save_pretrained(tmp_path)
    load_model("tiny", tmp_path)
    assert capfd.readouterr() == ("", "")


def test_an_unknown_size_is_refused():
    with pytest.raises(UserError, match=r"no MODEL '7b'; choose one of tiny, 0.3b, 3b"):
        model_config("7b")


def test_a_checkpoint_of_another_size_is_refused(tmp_path):
    model_config("0.3b").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is no tiny model: its hidden_size is 512, not 64"):
        load_model("tiny", tmp_path)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no checkpoint"):
        load_model("tiny", tmp_path)


def test_a_model_of_another_architecture_is_named(tmp_path):
    config = model_config("tiny")
    config.architectures = ["GPAForConditionalGeneration"]
    config.save_pretrained(tmp_path)
    refused = r"holds GPAForConditionalGeneration, and GPA is Qwen3ForCausalLM\. \(GPA 1\.5 is"
    with pytest.raises(UserError, match=refused):
        load_model("tiny", tmp_path)


def test_a_checkpoint_without_weights_is_refused(tmp_path):
    model_config("tiny").save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"weights in .* can't be read"):
        load_model("tiny", tmp_path)
