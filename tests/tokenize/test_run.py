"""`gpa tokenize`, whole but for Ray: what it leaves for training, and what it says when it can't."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gpa.runtime.config import parse
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Resources
from gpa.tokenize import run
from gpa.tokenize.run import TokenizeConfig, choose, read_config
from gpa.tokenize.shards import TokenShards
from gpa.tokenize.small import NOTICE
from gpa.tokenize.vocabulary import GLM, SEMANTIC, Vocabulary
from gpa.tokenize.weights import TokenizerConfig
from tests.curation.curated_out import SPOKEN, bad_entries, good_entries, write_curated
from tests.in_process import QUIET, gpa, without_ray
from tests.runs import ROOT

RANDOM = TokenizerConfig(bicodec="random", glm="random")


@pytest.fixture(scope="module")
def curated(tmp_path_factory) -> Path:
    """Two shards: the bad utterances and one good one, and the other good ones."""
    first, *others = good_entries()
    shards = [[first, *(bad for _, bad in bad_entries())], others]
    return write_curated(tmp_path_factory.mktemp("curated"), shards)


@pytest.fixture(scope="module")
def printed_and_out(curated, tmp_path_factory) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp("run") / "tokens"
    with without_ray(run):
        return gpa("tokenize", "--curated", curated, "--out", out, "--tokenizer", "random"), out


def last_run(out: Path) -> dict:
    return json.loads((out / "run.json").read_text())["stages"]["tokens"]


def products(out: Path) -> dict[str, bytes]:
    """All that training and people read, but for the report's times."""
    files = [*out.rglob("*.parquet"), *out.rglob("*.arrow"), out / "README.md"]
    return {str(file.relative_to(out)): file.read_bytes() for file in files}


def test_every_utterance_is_found_through_the_index(printed_and_out):
    shards = TokenShards(printed_and_out[1])
    assert len(shards) == len(SPOKEN)
    for number, seconds in enumerate(shards.table(["duration_s"])["duration_s"].to_pylist()):
        tokens = shards.tokens(number)
        # 50 and 12.5 tokens a second, as published.
        assert len(tokens.semantic_tokens) == pytest.approx(50 * seconds, abs=2)
        assert len(tokens.glm_tokens) == pytest.approx(12.5 * seconds, abs=1)
        assert len(tokens.global_tokens) == 32


def test_what_has_no_tokens_is_in_the_rejects_and_the_books_balance(printed_and_out, curated):
    printed, out = printed_and_out
    rejected = pq.read_table(out / "rejected.parquet").to_pylist()
    assert {row["utterance_id"] for row in rejected} == {
        bad["utterance_id"] for _, bad in bad_entries()
    }
    report = json.loads((out / "report.json").read_text())
    assert report["curated_utterances"] == len(SPOKEN) + len(bad_entries())
    manifest = pq.read_table(curated / "curated" / "manifest.parquet")
    seconds = sum(manifest["duration_s"].to_pylist())
    assert report["seconds"] + report["rejected_seconds"] == pytest.approx(seconds, abs=0.002)
    assert f"{len(SPOKEN)} tokenized" in printed
    assert f"{len(bad_entries())} rejected" in printed


def test_everything_says_that_small_tokenizers_mean_nothing(printed_and_out):
    printed, out = printed_and_out
    assert NOTICE in printed
    assert NOTICE in (out / "README.md").read_text()
    assert json.loads((out / "report.json").read_text())["notice"] == NOTICE
    assert TokenShards(out).provenance.trained is False


def test_the_vocabulary_is_a_transformers_tokenizer(printed_and_out):
    out = printed_and_out[1]
    loaded = Vocabulary.load(out / "vocabulary")
    tokenizer = loaded.tokenizer
    assert tokenizer.convert_tokens_to_ids("<|bicodec_semantic_5|>") == SEMANTIC.offset + 5
    assert tokenizer.convert_tokens_to_ids("<|glm_token_5|>") == GLM.offset + 5
    assert loaded.text_digest == TokenShards(out).provenance.text_digest


def start(curated: Path, out: Path, tokenizer: TokenizerConfig) -> None:
    """`gpa tokenize` in this process."""
    with without_ray(run):
        run.tokenize(str(curated), out, tokenizer, Resources(), QUIET)


def test_a_run_that_was_stopped_makes_only_the_shard_that_is_missing(printed_and_out, curated):
    out = printed_and_out[1]
    before = products(out)
    (missing,) = (out / "tokens").rglob("shard-000001-*.arrow")
    for file in missing.parent.glob("shard-000001-*"):
        file.unlink()
    (out / "index.parquet").unlink()
    for cached in (1, 2):  # and the one after it makes none
        start(curated, out, RANDOM)
        assert (last_run(out)["cached"], last_run(out)["partitions"]) == (cached, 2)
        assert products(out) == before


def test_the_out_of_a_curation_is_never_written_to(curated):
    with pytest.raises(UserError, match="is the OUT of a curation; choose another folder"):
        start(curated, curated, TokenizerConfig())


def test_nothing_is_started_without_curated_shards_or_weights(curated, tmp_path):
    with pytest.raises(UserError, match="make curate"):
        start(tmp_path / "nowhere", tmp_path / "out", TokenizerConfig())
    with pytest.raises(UserError, match="no/such"):
        start(curated, tmp_path / "out", TokenizerConfig(bicodec="/no/such", glm="/no/such"))
    assert not (tmp_path / "out").exists()


def test_a_misspelt_tokenizer_or_key_is_answered_with_the_nearest():
    config = read_config(ROOT / "pipelines.yaml")
    assert choose(config, "small") == TokenizerConfig()
    assert choose(config, "published").trained
    with pytest.raises(UserError, match=r"no tokenizer 'smal'; did you mean 'small'\?"):
        choose(config, "smal")
    with pytest.raises(UserError, match="the config file has small, random, published"):
        choose(config, "xyz")
    with pytest.raises(UserError, match="did you mean 'bicodec'"):
        parse(TokenizeConfig, {"tokenizers": {"mine": {"bicodex": "folder"}}}, "here")


def test_one_sentence_says_that_the_hub_is_not_to_be_had(curated, tmp_path):
    published = choose(read_config(ROOT / "pipelines.yaml"), "published")
    says = "^The tokenizer SparkAudio/Spark-TTS-0.5B is neither a folder nor to be had from the hub[^\n]*$"
    with pytest.raises(UserError, match=says):
        start(curated, tmp_path / "out", published)
