"""Two runs side by side: what changed in config, and which utterances changed sides and why."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from gpa.curation.report.compare import SHOWN, compare, differences, run
from gpa.curation.report.outputs import open_run
from gpa.runtime.errors import UserError
from gpa.runtime.stage import Artifact
from tests.curation.report.synthetic import Builder, fingerprint, write_out


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same corpus at 15 % and at 40 %."""
    folders = [tmp_path_factory.mktemp(name) for name in ("strict", "lax")]
    for folder, threshold in zip(folders, (0.15, 0.4), strict=True):
        write_out(folder, utterances=20, max_pwer=threshold, audio=False)
    return folders[0], folders[1]


def test_another_threshold_moves_what_lies_between(runs: tuple[Path, Path]):
    strict, lax = (open_run(str(out)) for out in runs)
    tables: list[pa.Table] = []
    found = compare(strict, lax, tables.append)
    assert found.config == [("consensus.max_pwer", 0.15, 0.4)]
    assert found.models == []
    assert set(found.moves) == {("disagreement", "kept")}
    changed = pa.concat_tables(tables).to_pylist()
    by_length = sorted(changed, key=lambda row: (-row["duration_s"], row["utterance_id"]))
    assert found.longest.to_pylist() == by_length[:SHOWN]
    assert (
        len(changed)
        == found.changed
        == found.moves["disagreement", "kept"]
        == found.kept_after - found.kept_before
    )
    assert len(changed) > 0
    assert all(0.15 <= row["pwer_after"] < 0.4 for row in changed)
    gained = sum(row["duration_s"] for row in changed)
    assert found.kept_after_s - found.kept_before_s == pytest.approx(gained)


def test_a_run_equals_itself(runs: tuple[Path, Path]):
    found = compare(open_run(str(runs[0])), open_run(str(runs[0])))
    assert not found.config
    assert not found.moves
    assert found.changed == found.longest.num_rows == 0
    assert found.other_text == 0


def test_recordings_that_moved_to_other_partitions_are_still_the_same(tmp_path: Path):
    def built(folder: Path) -> Builder:
        builder = Builder(folder, audio=False)
        builder.partition("part-a", ["a.wav"], 6)
        return builder

    one, other = built(tmp_path / "one"), built(tmp_path / "other")
    for name in ("recordings", "utterances", "consensus"):
        table = other.artifacts.table(name, fingerprint(name), "part-a")
        other.artifacts.write(name, fingerprint(name), "part-x", Artifact(table))
    other.partitions = ["part-x"]
    one.finish()
    other.finish()
    found = compare(open_run(str(tmp_path / "one")), open_run(str(tmp_path / "other")))
    assert not found.moves
    assert found.kept_before == found.kept_after > 0


def test_recordings_are_found_wherever_their_partition_begins(tmp_path: Path):
    """The same recordings, cut off into partitions one earlier, and the first one left out."""
    one, other = (Builder(tmp_path / name, audio=False) for name in ("one", "other"))
    for name in ("a", "b", "c", "d"):
        for builder in (one, other):
            builder.partition(f"part-{name}", [f"{name}.wav"], 6)

    def grouped(builder: Builder, groups: list[str]) -> None:
        for group in groups:
            for stage in ("recordings", "utterances", "consensus"):
                under = fingerprint(stage)
                tables = [builder.artifacts.table(stage, under, f"part-{name}") for name in group]
                table = pa.concat_tables(tables)
                builder.artifacts.write(stage, under, f"of-{group}", Artifact(table))
        builder.partitions = [f"of-{group}" for group in groups]
        builder.finish()

    grouped(one, ["ab", "cd"])
    grouped(other, ["bc", "d"])
    found = compare(*(open_run(str(tmp_path / name)) for name in ("one", "other")))
    assert {after for _, after in found.moves} == {"not cut"}
    assert found.kept_before - found.kept_after == found.moves["kept", "not cut"] > 0
    back = compare(*(open_run(str(tmp_path / name)) for name in ("other", "one")))
    assert back.moves == {(after, before): n for (before, after), n in found.moves.items()}
    assert sum(found.moves.values()) == 6


def test_differences_name_the_key_and_both_values():
    before = {"a": {"b": 1, "c": 2}, "d": 3}
    after = {"a": {"b": 1, "c": 5}, "e": {"f": 6}}
    assert list(differences(before, after)) == [("a.c", 2, 5), ("d", 3, None), ("e.f", None, 6)]


def test_the_command_prints_the_change_and_writes_all_of_it(
    runs: tuple[Path, Path], tmp_path: Path
):
    console = Console(record=True, width=160)
    run(str(runs[0]), str(runs[1]), tmp_path / "changes.parquet", console)
    printed = console.export_text()
    assert "consensus.max_pwer" in printed
    assert "disagreement" in printed
    written = pq.read_table(tmp_path / "changes.parquet")
    assert f"Changed sides: {written.num_rows} utterances" in printed


def test_a_run_without_decisions_is_one_sentence(runs: tuple[Path, Path], tmp_path: Path):
    content = json.loads((runs[0] / "run.json").read_text())
    content["fingerprints"] = {"recordings": "1"}
    content["stages"] = {}
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="decided on no utterance yet"):
        run(str(runs[0]), str(tmp_path), None, Console(quiet=True))
