"""Early exit changes no decision: every panel is decided with it and without, and compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpa.curation.consensus.stage import ConsensusConfig, ConsensusRow, PanelConfig, decide
from gpa.curation.hypotheses import Heard, Skipped
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.pipeline import build_stages, read_pipeline
from gpa.curation.transcribe.early_exit import EarlyExitConfig, early_exits
from gpa.runtime.errors import UserError
from gpa.runtime.recipe import fingerprints
from tests.runs import pipelines

DURATION_S = 3.0
SENTENCE = ("the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog")
NONSENSE = ("in", "a", "hole", "down", "there", "lived", "some", "other", "creature")

# What an ASR may do: near the sentence, something else, silence, a loop, an exception, no row.
replaced = st.lists(
    st.tuples(st.integers(0, len(SENTENCE) - 1), st.sampled_from(["box", "", "a b"])), max_size=5
)
texts = st.one_of(
    replaced.map(lambda edits: " ".join(dict(edits).get(k, w) for k, w in enumerate(SENTENCE))),
    st.lists(st.sampled_from(SENTENCE + NONSENSE), max_size=12).map(" ".join),
    st.sampled_from(["", "[music]", "thank you " * 12, " ".join(NONSENSE)]),
)
outcomes = st.one_of(
    texts.map(Hypothesis), texts.map(Hypothesis), st.just(RuntimeError("odd")), st.none()
)


@st.composite
def panels(draw: st.DrawFn) -> tuple[PanelConfig, dict[str, Heard]]:
    """A panel of three to six, one of them a verifier now and then, and what each of them did."""
    names = [f"asr{number}" for number in range(draw(st.integers(3, 6)))]
    verifier = names.pop(draw(st.integers(0, len(names) - 1))) if draw(st.booleans()) else None
    replaces = verifier is not None and draw(st.booleans())
    panel = PanelConfig(
        voters=tuple(draw(st.permutations(names))), verifier=verifier,
        verifier_replaces_voter=replaces,
    )  # fmt: skip
    did = {asr: draw(outcomes) for asr in sorted([*names, *([verifier] if verifier else [])])}
    return panel, {asr: outcome for asr, outcome in did.items() if outcome is not None}


def with_early_exit(
    panel: PanelConfig, did: dict[str, Heard], config: ConsensusConfig, settings: EarlyExitConfig
) -> dict[str, Heard]:
    """What the stages would leave in their tables: each ASR is asked only where its rule says so."""
    order = sorted([*panel.voters, *([panel.verifier] if panel.verifier else [])])
    rules = early_exits(settings, order, config)
    found: dict[str, Heard] = {}
    for asr in order:
        skipped = rules[asr].proof(found, "en", DURATION_S) if asr in rules else None
        if skipped is not None:
            found[asr] = skipped
        elif asr in did:
            found[asr] = did[asr]
    return found


@settings(max_examples=600)
@given(
    drawn=panels(),
    threshold=st.sampled_from([0.05, 0.15, 0.25, 0.4]),
    slack=st.sampled_from([0.0, 0.1]),
    min_voters=st.integers(2, 4),
    room=st.integers(0, 1),
)
def test_every_decision_is_the_same_at_every_threshold_up_to_that_of_early_exit(
    drawn, threshold, slack, min_voters, room
):
    panel, did = drawn
    settings_ = EarlyExitConfig(pwer=threshold + slack, largest_panel=len(panel.voters) + room)
    config = ConsensusConfig(panels={"en": panel}, max_pwer=threshold, min_voters=min_voters)
    found = with_early_exit(panel, did, config, settings_)
    for max_pwer in (threshold, threshold / 2, settings_.pwer):
        at = config.model_copy(update={"max_pwer": max_pwer})
        without = decide(panel, did, "en", DURATION_S, at)
        spared = decide(panel, found, "en", DURATION_S, at)
        assert (spared.kept, spared.reason) == (without.kept, without.reason)
        if spared.early_exit:
            assert settings_.pwer <= spared.pwer <= without.pwer + 1e-9
        else:
            assert repr(spared) == repr(without)


@settings(max_examples=200)
@given(drawn=panels(), late=outcomes)
def test_what_was_skipped_stays_proven_when_an_asr_joins_the_panel(drawn, late):
    panel, did = drawn
    settings_ = EarlyExitConfig(pwer=0.2, largest_panel=len(panel.voters) + 1)
    config = ConsensusConfig(panels={"en": panel}, max_pwer=0.2)
    found = with_early_exit(panel, did, config, settings_)
    larger = panel.model_copy(update={"voters": (*panel.voters, "zzz")})
    joined = {} if late is None else {"zzz": late}
    spared = decide(larger, found | joined, "en", DURATION_S, config)
    without = decide(larger, did | joined, "en", DURATION_S, config)
    assert (spared.kept, spared.reason) == (without.kept, without.reason)


def _after_two(
    one: str, other: str, pwer: float, largest_panel: int
) -> tuple[dict[str, Heard], ConsensusRow]:
    panel = PanelConfig(voters=("a", "b", "c"), verifier="d")
    config = ConsensusConfig(panels={"en": panel})
    did: dict[str, Heard] = dict.fromkeys("abcd", Hypothesis(one)) | {"b": Hypothesis(other)}
    settings_ = EarlyExitConfig(pwer=pwer, largest_panel=largest_panel)
    found = with_early_exit(panel, did, config, settings_)
    return found, decide(panel, found, "en", DURATION_S, config)


def test_two_that_share_no_word_spare_the_third_and_the_verifier():
    found, row = _after_two(" ".join(SENTENCE), " ".join(NONSENSE), 0.5, 3)
    assert found["c"] == found["d"] == Skipped(pytest.approx(3.5 / 6, abs=0.02))
    assert (row.reason, row.early_exit, row.value) == ("disagreement", True, row.pwer)
    assert row.pwer == pytest.approx(found["c"].pwer_at_least)
    assert [(each.asr, each.reason) for each in row.struck] == [("c", "skipped"), ("d", "skipped")]
    assert row.detail == "pWER is at least this: c, d skipped"
    assert row.pwer_uncapped is None


def test_a_larger_panel_is_harder_to_prove():
    found, row = _after_two(" ".join(SENTENCE), " ".join(NONSENSE), 0.5, 6)
    assert found["c"] == Hypothesis(" ".join(SENTENCE))
    assert not row.early_exit


def test_a_skip_without_proof_is_never_decided_on():
    panel = PanelConfig(voters=("a", "b", "c"))
    did: dict[str, Heard] = dict.fromkeys("ab", Hypothesis(" ".join(SENTENCE))) | {
        "c": Skipped(0.5)
    }
    with pytest.raises(ValueError, match="c skipped, though disagreement is not proven"):
        decide(panel, did, "en", DURATION_S, ConsensusConfig(panels={"en": panel}))


def _third_voter(section: dict) -> None:
    """`laptop` with early exit and a third voter behind the verifier."""
    section["transcribe"]["early_exit"] = {"pwer": 0.5, "largest_panel": 4}
    _join(section, "third", beam_size=2)


def _join(section: dict, name: str, beam_size: int) -> None:
    tiny = section["transcribe"]["asr"]["whisper-tiny-en"]
    section["transcribe"]["asr"][name] = {**tiny, "beam_size": beam_size}
    section["consensus"]["panels"]["en"]["voters"].append(name)


def _changed(folder: Path, change: Callable[[dict], None]) -> set[str]:
    """The stages that have another fingerprint once `change` is applied to the above."""

    def changed(section: dict) -> None:
        _third_voter(section)
        change(section)

    before, after = (
        fingerprints(build_stages(read_pipeline(file, "laptop")), {"recordings": "1"})
        for file in (pipelines(folder, each) for each in (_third_voter, changed))
    )
    return {name for name in after if after[name] != before.get(name)}


def test_a_threshold_up_to_that_of_early_exit_runs_no_asr(tmp_path: Path):
    def looser(section: dict) -> None:
        section["consensus"]["max_pwer"] = 0.5

    assert _changed(tmp_path, looser) == {"consensus", "alignment"}


def test_another_asr_as_the_last_runs_alone(tmp_path: Path):
    found = _changed(tmp_path, lambda section: _join(section, "fourth", beam_size=3))
    assert found == {"hypotheses/fourth", "consensus", "alignment"}


def test_an_asr_that_is_spared_depends_on_those_that_spare_it(tmp_path: Path):
    def narrower(section: dict) -> None:
        section["transcribe"]["asr"]["whisper-tiny-en"]["beam_size"] = 1

    spared = {"hypotheses/ctc-en", "hypotheses/third"}
    assert _changed(tmp_path, narrower) == {
        "hypotheses/whisper-tiny-en", *spared, "consensus", "alignment",
    }  # fmt: skip


def test_without_early_exit_asrs_know_of_the_identifier_alone(tmp_path: Path):
    def off(section: dict) -> None:
        section["transcribe"]["early_exit"] = None

    stages = build_stages(read_pipeline(pipelines(tmp_path, off), "laptop"))
    (verifier,) = (stage for stage in stages if stage.name == "hypotheses/ctc-en")
    assert verifier.inputs == ("recordings", "utterances", "hypotheses/whisper-base")


def test_early_exit_and_a_voter_that_may_be_left_out_exclude_each_other(tmp_path: Path):
    def configured(section: dict) -> None:
        section["transcribe"]["early_exit"] = {"pwer": 0.5, "largest_panel": 3}
        section["consensus"]["max_outlier_distance"] = 0.3

    with pytest.raises(UserError, match="may leave a voter out"):
        read_pipeline(pipelines(tmp_path, configured), "laptop")


@pytest.mark.parametrize(
    ("early_exit", "complaint"),
    [
        ({"pwer": 0.1, "largest_panel": 3}, "below consensus.max_pwer"),
        ({"pwer": 0.5, "largest_panel": 2}, "has 3 voters; set transcribe.early_exit.largest"),
    ],
)
def test_an_early_exit_that_could_lose_something_never_starts(
    tmp_path: Path, early_exit: dict, complaint: str
):
    def configured(section: dict) -> None:
        _third_voter(section)
        section["transcribe"]["early_exit"] = early_exit

    with pytest.raises(UserError, match=complaint):
        read_pipeline(pipelines(tmp_path, configured), "laptop")
