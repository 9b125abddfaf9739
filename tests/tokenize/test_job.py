"""The tokenize stage on a real curated shard: tokens for what has any, a reject for the rest."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from gpa.curation.curated import find_shards
from gpa.curation.shards import CURATED, PLAN
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.errors import UserError
from gpa.runtime.stage import Artifact, NoAttempts
from gpa.runtime.storage import Store
from gpa.tokenize.job import TokenizeStage
from gpa.tokenize.shards import UtteranceTokens, shard_totals
from gpa.tokenize.vocabulary import Vocabulary
from gpa.tokenize.weights import TokenizerConfig
from tests.curation.curated_out import SPOKEN, bad_entries, good_entries, write_curated


@dataclasses.dataclass
class AfterADeath(NoAttempts):
    """Attempts of a partition that has killed a worker before."""

    careful: bool = True
    quarantined: frozenset[str] = frozenset()


@pytest.fixture(scope="module")
def stage(small_folders) -> TokenizeStage:
    bicodec, glm = map(str, small_folders)
    config = TokenizerConfig(bicodec=bicodec, glm=glm)
    made = TokenizeStage("tokens", config, ["curated"])
    made.load()
    return made


def process(stage: TokenizeStage, curated: Path, attempts: Any = None) -> Artifact:
    (partition,) = find_shards(str(curated)).partitions.items()
    return stage.process(
        partition[0], {"curated": Artifact(partition[1])}, attempts or NoAttempts()
    )


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """One shard of good utterances with the bad ones among them."""
    good, bad = good_entries(), [bad for _, bad in bad_entries()]
    return write_curated(tmp_path_factory.mktemp("mixed"), [[good[0], *bad, *good[1:]]])


def test_good_utterances_have_the_tokens_that_the_tokenizers_give(stage, mixed, bicodec, glm):
    made = process(stage, mixed)
    assert made.mapped["utterance_id"].to_pylist() == [
        f"recording{number}-000000000" for number in range(len(SPOKEN))
    ]
    assert made.mapped["source"].to_pylist() == [".", "corpus", "corpus"]
    for row, curated, name in zip(made.mapped.to_pylist(), good_entries(), SPOKEN, strict=True):
        tokens = UtteranceTokens(
            **{kind: np.array(row[kind]) for kind in UtteranceTokens.__dataclass_fields__}
        )
        samples, rate = soundfile.read(io.BytesIO(curated["flac"]), dtype="float32")
        (expected,) = bicodec.encode([samples], rate)
        np.testing.assert_array_equal(tokens.semantic_tokens, expected.semantic_tokens)
        np.testing.assert_array_equal(tokens.global_tokens, expected.global_tokens)
        np.testing.assert_array_equal(tokens.glm_tokens, glm.encode([samples], rate)[0])
        said = Vocabulary.build().decode_pieces(tokens.text_tokens)
        assert "".join(said) == f"<|im_end|>{name}"
    assert made.table.to_pylist() == [shard_totals(made.mapped)]


def test_every_bad_utterance_is_a_reject_that_says_why(stage, mixed):
    rejects = {reject.utterance_id: reject for reject in process(stage, mixed).rejects}
    for said, bad in bad_entries():
        reject = rejects.pop(bad["utterance_id"])
        assert said in reject.detail
        assert reject.reason in ("unreadable", "no_tokens")
        assert reject.recording_id == bad["recording_id"]
    assert not rejects


def test_no_second_is_lost_and_none_counted_twice(stage, mixed):
    made = process(stage, mixed)
    seconds = sum(made.mapped["duration_s"].to_pylist()) + sum(r.seconds for r in made.rejects)
    (curated_s,) = find_shards(str(mixed)).seconds.values()
    assert seconds == pytest.approx(curated_s)
    assert made.audio_s == pytest.approx(curated_s)


def test_the_same_shard_gives_the_same_bytes_also_one_utterance_at_a_time(stage, mixed):
    first = process(stage, mixed)
    for attempts in (NoAttempts(), AfterADeath()):
        again = process(stage, mixed, attempts)
        assert again.table.equals(first.table)
        assert again.mapped.equals(first.mapped)
        assert again.rejects == first.rejects


def test_portions_smaller_than_a_shard_give_the_same_tokens(stage, mixed):
    first = process(stage, mixed)
    small = TokenizeStage("tokens", stage.config.model_copy(update={"portion_s": 0.5}), ["curated"])
    small.load()
    assert process(small, mixed).mapped.equals(first.mapped)


def test_a_quarantined_recording_is_rejected_untouched(stage, mixed):
    attempts = AfterADeath(quarantined=frozenset({"recording1"}))
    made = process(stage, mixed, attempts)
    assert "recording1-000000000" not in made.mapped["utterance_id"].to_pylist()
    (reject,) = (reject for reject in made.rejects if reject.recording_id == "recording1")
    assert reject.reason == "quarantined"


def test_a_shard_of_nothing_usable_gives_an_empty_table(stage, tmp_path):
    made = process(stage, write_curated(tmp_path, [[bad for _, bad in bad_entries()]]))
    assert made.mapped.num_rows == made.table["utterances"][0].as_py() == 0
    assert len(made.rejects) == len(bad_entries())


def test_a_shard_changed_after_curation_is_refused(stage, tmp_path):
    write_curated(tmp_path, [good_entries()])
    tar = tmp_path / CURATED / "shard-000000.tar"
    data = bytearray(tar.read_bytes())
    data[700] ^= 1
    tar.write_bytes(data)
    with pytest.raises(UserError, match="other bytes than its manifest says"):
        process(stage, tmp_path)
    tar.unlink()
    with pytest.raises(UserError, match="can't be read"):
        process(stage, tmp_path)


def test_artifacts_are_the_same_bytes_when_they_are_stored(stage, mixed, tmp_path):
    made = process(stage, mixed)
    for name in "ab":
        ArtifactStore(Store(str(tmp_path / name))).write("tokens", "f", "p", made)
    for file in sorted((tmp_path / "a").rglob("*.*")):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()


@pytest.mark.parametrize("below", ["", "/", "/curated", "/curated/"])
def test_curated_shards_are_found_from_the_out_and_from_its_folder(mixed, below):
    shards = find_shards(f"{mixed}{below}")
    (name,) = shards.partitions
    assert name.startswith("shard-000000-")
    assert shards.utterances == len(SPOKEN) + len(bad_entries())


def test_a_place_without_curated_shards_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no curated shards; make them with `make curate`"):
        find_shards(str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("text")
    with pytest.raises(UserError, match="holds no curated shards"):
        find_shards(str(tmp_path / "file"))
    with pytest.raises(UserError, match="nothing was kept"):
        find_shards(str(write_curated(tmp_path, [])))
    (tmp_path / PLAN).write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="can't be read"):
        find_shards(str(tmp_path))
