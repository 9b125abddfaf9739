"""Licences of tokenizers' weights: by their cards, and what follows."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gpa.curation.doctor import show_others
from gpa.tokenize.licences import NOT_SAID, consequence, licence_of
from gpa.tokenize.weights import SMALL_BICODEC, SMALL_GLM, TokenizerConfig, tokenizer_facts
from tests.runs import ROOT


@pytest.mark.parametrize(
    ("name", "licence", "follows"),
    [
        ("SparkAudio/Spark-TTS-0.5B", "CC BY-NC-SA 4.0", "non-commercial"),
        ("THUDM/glm-4-voice-tokenizer", "GLM-4 model licence", "LICENSE beside the weights"),
        ("checkpoints/GPA", "Apache-2.0", ""),
        ("somewhere/mine", NOT_SAID, ""),
    ],
)
def test_licences_are_those_of_the_cards_of_their_sources(name, licence, follows, tmp_path):
    assert licence_of(name, tmp_path / "none") == licence
    assert follows in consequence(licence)
    assert bool(consequence(licence)) == bool(follows)


def test_a_folder_says_its_own_licence_in_the_head_of_its_card(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n\n# Mine\n")
    assert licence_of("mine", tmp_path) == "cc-by-nc-4.0"
    assert licence_of("mine", tmp_path / "BiCodec") == "cc-by-nc-4.0"
    assert "non-commercial" in consequence("cc-by-nc-4.0")
    (tmp_path / "README.md").write_text("# No head\n")
    assert licence_of("mine", tmp_path) == NOT_SAID


def test_the_shipped_tokenizers_are_free_and_their_cards_are_beside_them():
    assert licence_of("small", SMALL_BICODEC) == "apache-2.0"
    assert licence_of("small", SMALL_GLM) == "mit"
    facts = tokenizer_facts(TokenizerConfig())
    assert facts["bicodec"].licence == "apache-2.0"
    assert facts["bicodec"].weights[0].origin == "shipped"
    assert facts["glm"].licence == "mit"
    assert facts["glm"].weights[0].origin == "shipped"


def test_the_doctor_names_the_licence_of_every_tokenizer_and_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    printed = io.StringIO()
    show_others(ROOT / "pipelines.yaml", Console(file=printed, width=200))
    lines = printed.getvalue().splitlines()
    (spark,) = (line for line in lines if "Spark-TTS" in line)
    assert "CC BY-NC-SA 4.0" in spark
    assert "non-commercial" in spark
    assert any("apache-2.0 and mit; on this machine" in line for line in lines)
    (tmp_path / "other.yaml").write_text("pipelines: {}\n")
    show_others(tmp_path / "other.yaml", Console(file=printed))
