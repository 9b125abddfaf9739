"""The guard that finds the recording which kills its worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpa.runtime.attempts import MAX_UNNAMED_DEATHS, PartitionAttempts, forgotten
from gpa.runtime.storage import Store


def attempt(path: Path, run: str) -> PartitionAttempts:
    return PartitionAttempts(Store(str(path)), "segment", "part-1", run)


def dies_on(attempts: PartitionAttempts, recording: str) -> None:
    """What is left on storage when a worker dies: the context is entered and never left."""
    attempts.on([recording]).__enter__()


def test_the_first_start_is_not_careful(tmp_path: Path):
    first = attempt(tmp_path, "run")
    assert not first.careful
    assert first.quarantined == frozenset()


def test_the_second_death_names_the_recording_and_the_third_start_leaves_it_out(tmp_path: Path):
    dies_on(attempt(tmp_path, "run"), "bad")
    second = attempt(tmp_path, "run")
    assert second.careful
    assert second.quarantined == frozenset()
    dies_on(second, "bad")
    assert attempt(tmp_path, "run").quarantined == {"bad"}


def test_a_recording_that_was_finished_before_the_death_is_innocent(tmp_path: Path):
    dies_on(attempt(tmp_path, "run"), "bad")
    second = attempt(tmp_path, "run")
    with second.on(["good"]):
        pass
    dies_on(second, "bad")
    assert attempt(tmp_path, "run").quarantined == {"bad"}


def test_killing_the_whole_run_accuses_nobody(tmp_path: Path):
    dies_on(attempt(tmp_path, "monday"), "a")
    dies_on(attempt(tmp_path, "tuesday"), "b")
    assert attempt(tmp_path, "wednesday").quarantined == frozenset()


def test_a_recording_that_takes_two_whole_runs_with_it_is_left_out(tmp_path: Path):
    dies_on(attempt(tmp_path, "monday"), "bad")  # not careful yet: nobody is named
    dies_on(attempt(tmp_path, "tuesday"), "bad")
    dies_on(attempt(tmp_path, "wednesday"), "bad")
    assert attempt(tmp_path, "thursday").quarantined == {"bad"}


def test_two_bad_recordings_are_both_found(tmp_path: Path):
    for recording in ("first", "first", "second"):
        dies_on(attempt(tmp_path, "run"), recording)
    assert attempt(tmp_path, "run").quarantined == {"first", "second"}


def test_a_partition_that_kills_every_worker_before_any_recording_is_given_up(tmp_path: Path):
    starts = [attempt(tmp_path, "run") for _ in range(MAX_UNNAMED_DEATHS + 1)]
    assert [start.hopeless for start in starts] == [False] * MAX_UNNAMED_DEATHS + [True]


def test_runs_that_were_killed_give_no_partition_up(tmp_path: Path):
    starts = [attempt(tmp_path, f"run {number}") for number in range(3 * MAX_UNNAMED_DEATHS)]
    assert not any(start.hopeless for start in starts)


def test_a_finished_partition_is_forgotten(tmp_path: Path):
    first = attempt(tmp_path, "run")
    first.finished()
    assert not attempt(tmp_path, "run").careful


def a_run_that_ends_with(error: BaseException, path: Path) -> None:
    with forgotten(Store(str(path))):
        dies_on(attempt(path, "monday"), "a")
        raise error


def test_who_stops_a_run_by_hand_accuses_nobody(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        a_run_that_ends_with(KeyboardInterrupt(), tmp_path)
    assert not attempt(tmp_path, "tuesday").careful


def test_a_run_that_fails_keeps_its_notes(tmp_path: Path):
    with pytest.raises(RuntimeError):
        a_run_that_ends_with(RuntimeError(), tmp_path)
    assert attempt(tmp_path, "tuesday").careful
