"""`gpa train` says what is wrong in one sentence, with status 2, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpa.runtime import cli
from gpa.tokenize.shards import Provenance, TokenShards, write_index
from gpa.train.command import read_config
from gpa.train.sizes import SIZES, model_config

RECIPE = Path(__file__).resolve().parents[2] / "pipelines.yaml"


@pytest.fixture(scope="module")
def shards(make_shards, tmp_path_factory) -> TokenShards:
    return make_shards(tmp_path_factory.mktemp("tokens"), 24)


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """What `gpa train` says to these options; OUT is `tmp_path / "out"`."""

    def run(*options: object) -> str:
        arguments = ["gpa", "train", "--config", RECIPE, "--out", tmp_path / "out", *options]
        monkeypatch.setattr("sys.argv", [*map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr().err.splitlines()
        assert stopped.value.code == 2
        assert len(said) == 1
        assert not (tmp_path / "out").exists()
        return said[0]

    return run


def test_no_shards(refused, tmp_path):
    assert "holds no token shards" in refused("--tokens", tmp_path)


def test_an_unknown_model(refused, shards):
    assert "no MODEL '7b'" in refused("--tokens", shards.folder, "--model", "7b")


def test_no_steps(refused, shards):
    assert "STEPS=0 trains nothing" in refused("--tokens", shards.folder, "--steps", 0)


def test_shards_of_another_vocabulary(refused, shards, tmp_path):
    other = tmp_path / "tokens"
    other.mkdir()
    write_index(other, shards.index.to_pylist(), Provenance("other", "b", "g", True))
    assert "another vocabulary" in refused("--tokens", other)


def test_a_checkpoint_of_another_size(refused, shards, tmp_path):
    model_config("0.3b").save_pretrained(tmp_path / "checkpoint")
    said = refused(
        *("--tokens", shards.folder, "--phase", "sft", "--checkpoint", tmp_path / "checkpoint")
    )
    assert "is no tiny model" in said


def test_fine_tuning_from_nothing(refused, shards):
    assert "starts from a checkpoint" in refused("--tokens", shards.folder, "--phase", "sft")


def test_the_recipe_has_settings_for_every_size_and_phase():
    config = read_config(RECIPE)
    assert set(config.batches) == set(SIZES)
    for phase in ("pretrain", "sft"):
        settings = config.phases[phase]
        assert set(settings.steps) == set(settings.learning_rate) == set(SIZES)
