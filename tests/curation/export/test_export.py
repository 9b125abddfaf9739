"""Exports are read back by the libraries that they are for, and go on where they ended."""

from __future__ import annotations

import gzip
import io
import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from rich.console import Console

from gpa.curation.audio import decode
from gpa.curation.export.formats import FORMATS
from gpa.curation.export.run import export
from gpa.curation.ingest.corpus import find
from gpa.runtime.errors import UserError
from tests.curation.curated_out import good_entries, write_curated

WORDS = [{"word": "one", "start_s": 0.1, "end_s": 0.4, "confidence": None}]


def entries() -> list[dict[str, Any]]:
    return [
        each
        | {
            "sample_rate": soundfile.info(io.BytesIO(each["flac"])).samplerate,
            "kept_version": "normalized",
            "mos": {"normalized": {"overall": 3.5}, "denoised": None},
            "text": f"number {number}\n of <three>",
            "words": WORDS if number else [],
        }
        for number, each in enumerate(good_entries())
    ]


@pytest.fixture(scope="module")
def curated(tmp_path_factory) -> Path:
    first, second, third = entries()
    return write_curated(tmp_path_factory.mktemp("curated"), [[first, second], [third]])


def run(curated: Path, to: str, out: Path, where: str | None = None) -> dict[str, Any]:
    return export(str(curated), to, str(out), where, Console(quiet=True))


def files(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "run.lock"
    }


def samples(entry: dict[str, Any]) -> np.ndarray:
    return soundfile.read(io.BytesIO(entry["flac"]), dtype="float32")[0]


class TestFormats:
    def test_datasets_reads_parquet_with_its_audio(self, curated, tmp_path):
        import datasets

        run(curated, "parquet", tmp_path / "out")
        loaded = datasets.load_dataset(
            "parquet", data_files=str(tmp_path / "out/data/*.parquet"), split="train",
            cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip
        assert isinstance(loaded.features["audio"], datasets.Audio)
        # Decoding needs a torchcodec that works; the bytes are what it would get.
        rows = list(loaded.cast_column("audio", datasets.Audio(decode=False)))
        for row, entry in zip(rows, entries(), strict=True):
            assert row["audio"]["bytes"] == entry["flac"]
            assert (row["utterance_id"], row["text"]) == (entry["utterance_id"], entry["text"])

    def test_lhotse_reads_shar(self, curated, tmp_path):
        from lhotse import CutSet

        run(curated, "lhotse", tmp_path)
        cuts = list(CutSet.from_shar(in_dir=str(tmp_path / "data")))
        for cut, entry in zip(cuts, entries(), strict=True):
            (supervision,) = cut.supervisions
            assert (cut.id, supervision.text) == (entry["utterance_id"], entry["text"])
            assert (supervision.speaker, supervision.language) == (entry["speaker"], "en")
            np.testing.assert_array_equal(cut.load_audio()[0], samples(entry))
        aligned = cuts[1].supervisions[0].alignment["word"][0]
        assert (aligned.symbol, aligned.start, aligned.duration) == ("one", 0.1, 0.3)

    def test_nemo_reads_tars_and_manifest(self, curated, tmp_path):
        from nemo.collections.asr.data.audio_to_text import TarredAudioToCharDataset

        run(curated, "nemo", tmp_path)
        read = TarredAudioToCharDataset(
            audio_tar_filepaths=str(tmp_path / "data/audio__OP_0..1_CL_.tar"),
            manifest_filepath=str(tmp_path / "data/tarred_audio_manifest.json"),
            labels=[*string.printable],
            sample_rate=16000,
            parser="base",
            normalize=False,
        )
        heard = sorted(len(clip[0]) for clip in read)
        assert heard == sorted(round(e["duration_s"] * 16000) for e in entries())
        sharded = (tmp_path / "data/sharded_manifests/manifest_1.json").read_text().splitlines()
        assert [json.loads(line)["shard_id"] for line in sharded] == [1]

    def test_nemos_own_bucketing_reads_buckets_by_duration(self, curated, tmp_path):
        from nemo.collections.asr.data.audio_to_text_dataset import (
            get_chain_dataset,
            get_tarred_dataset,
        )
        from omegaconf import DictConfig

        lengths = sorted(each["duration_s"] for each in entries())
        end = (lengths[0] + lengths[1]) / 2
        books = export(str(curated), "nemo", str(tmp_path), None, Console(quiet=True), [end])
        assert books["utterances"] == 3
        config = DictConfig({
            "tarred_audio_filepaths": [
                [f"{tmp_path}/data/bucket{k}/audio__OP_0..1_CL_.tar"] for k in (1, 2)
            ],
            "manifest_filepath": [
                [f"{tmp_path}/data/bucket{k}/tarred_audio_manifest.json"] for k in (1, 2)
            ],
            "labels": [*string.printable], "sample_rate": 16000, "parser": "base",
            "normalize": False, "batch_size": 1, "is_tarred": True,
            "bucketing_strategy": "fixed_order",
        })  # fmt: skip
        read = get_tarred_dataset(config, shuffle_n=0, global_rank=0, world_size=1)
        heard = [len(clip[0]) / 16000 for clip in get_chain_dataset([read], config)]
        assert sorted(heard) == pytest.approx(lengths, abs=1e-3)
        assert heard[0] == pytest.approx(lengths[0], abs=1e-3)

    def test_kaldis_tables_are_read_by_lhotse_and_sorted_as_kaldi_checks(self, curated, tmp_path):
        from lhotse.kaldi import load_kaldi_data_dir

        run(curated, "kaldi", tmp_path)
        tables = {
            name: (tmp_path / "data" / name).read_bytes().splitlines()
            for name in ("text", "utt2spk", "spk2utt", "wav.scp", "utt2dur", "utt2lang")
        }
        for lines in tables.values():
            assert lines == sorted(lines)
            assert len(lines) == 3
        speakers = [line.split()[1] for line in tables["utt2spk"]]
        assert speakers == sorted(speakers)
        recordings, supervisions, _ = load_kaldi_data_dir(tmp_path / "data", sampling_rate=16000)
        by_text = {each.text: each for each in supervisions}
        for entry in entries():
            supervision = by_text[" ".join(entry["text"].split())]
            audio = recordings[supervision.recording_id].load_audio()[0]
            # Lhotse takes durations of Kaldi's tables down to whole milliseconds.
            assert 0 <= len(samples(entry)) - len(audio) < 16
            np.testing.assert_array_equal(audio, samples(entry)[: len(audio)])

    def test_webdataset_and_json_read_emilias_layout(self, curated, tmp_path):
        import webdataset

        run(curated, "emilia", tmp_path)
        urls = sorted(map(str, tmp_path.glob("data/*.tar")))
        read = list(webdataset.WebDataset(urls, shardshuffle=False))
        for sample, entry in zip(read, entries(), strict=True):
            about = json.loads(sample["json"])
            assert sample["flac"] == entry["flac"]
            assert (about["id"], about["text"]) == (entry["utterance_id"], entry["text"])
            assert (about["wav"], about["dnsmos"]) == (f"{about['id']}.flac", 3.5)


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_gives_the_same_bytes_again_and_after_a_loss(curated, tmp_path, to):
    run(curated, to, tmp_path / "a")
    run(curated, to, tmp_path / "b")
    whole = files(tmp_path / "a")
    lost = next(name for name in sorted(whole) if not name.startswith(("marks", "export")))
    (tmp_path / "b" / lost).unlink()
    run(curated, to, tmp_path / "b")
    there = files(tmp_path / "b")
    if to == "kaldi":  # its wav.scp names the folder
        assert there.pop("data/wav.scp") != whole.pop("data/wav.scp")
    assert there == whole


def test_books_balance_and_another_selection_leaves_nothing_of_the_first(curated, tmp_path):
    books = run(curated, "emilia", tmp_path / "out")
    assert (books["utterances"], books["left_out"]) == (3, 0)
    key = entries()[2]["utterance_id"]
    books = run(curated, "emilia", tmp_path / "out", f"utterance_id = '{key}'")
    assert (books["utterances"], books["left_out"], books["shards"]) == (1, 2, 1)
    assert books["seconds"] == pytest.approx(entries()[2]["duration_s"], abs=1e-3)
    run(curated, "emilia", tmp_path / "fresh", f"utterance_id = '{key}'")
    assert files(tmp_path / "out") == files(tmp_path / "fresh")


def test_a_selection_of_nothing_is_an_export_of_nothing(curated, tmp_path):
    books = run(curated, "lhotse", tmp_path, "false")
    assert (books["utterances"], books["left_out"]) == (0, 3)


def test_shar_has_no_time_of_day_in_it(curated, tmp_path):
    run(curated, "lhotse", tmp_path)
    data = (tmp_path / "data/cuts.000000.jsonl.gz").read_bytes()
    assert data[4:8] == bytes(4)
    assert len(gzip.decompress(data).splitlines()) == 2


def test_an_unknown_format_is_named_with_those_there_are(curated, tmp_path):
    with pytest.raises(UserError, match="no format 'csv'; there are parquet, lhotse"):
        run(curated, "csv", tmp_path)
    with pytest.raises(UserError, match="lhotse has none"):
        export(str(curated), "lhotse", str(tmp_path), None, Console(quiet=True), [5.0])


@pytest.mark.parametrize("to", FORMATS)
def test_what_is_exported_can_be_curated_again(curated: Path, tmp_path: Path, to: str):
    run(curated, to, tmp_path / "out")
    found = [file for file in find(str(tmp_path / "out" / "data")) if file.claimed]
    assert [file.error for file in found] == [None] * 3
    heard = {json.loads(file.given)["text"]: file for file in found}
    for entry in entries():
        file = heard[entry["text"] if to != "kaldi" else " ".join(entry["text"].split())]
        waveform, _ = decode(file.uri)
        assert np.abs(waveform[0] - samples(entry)).max() < 1e-4
        assert (file.language, file.start_s) == ("en", 0.0)
        assert file.end_s is None or file.end_s == pytest.approx(entry["duration_s"], abs=0.01)
        said = json.loads(file.given)
        assert said["speaker"].replace("-", "_") == entry["speaker"].replace("-", "_")
