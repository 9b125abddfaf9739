"""Each way in which an utterance falls, what is recorded of it, and what survives."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from gpa.curation.consensus.stage import ConsensusConfig, ConsensusStage, PanelConfig, decide
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.pipeline import build_stages, read_pipeline
from gpa.curation.tables import CONSENSUS, HYPOTHESES, UTTERANCES
from gpa.runtime.config import parse
from gpa.runtime.errors import UserError
from gpa.runtime.recipe import fingerprints
from gpa.runtime.stage import Artifact, NoAttempts, Reject
from tests.runs import ROOT, pipelines
from tests.tables import artifact, recordings

PANEL = PanelConfig(voters=("base", "tiny", "third"))
VERIFIED = PanelConfig(voters=("base", "tiny"), verifier="ctc", max_verifier_distance=0.4)
SENTENCE = "The quick brown fox jumps over the lazy dog."


def _decide(panel: PanelConfig = PANEL, language: str = "en", duration_s: float = 3.0, **heard):
    hypotheses = {
        asr: Hypothesis(said, confidence=0.9) if isinstance(said, str) else said
        for asr, said in heard.items()
    }
    return decide(panel, hypotheses, language, duration_s, ConsensusConfig(panels={"en": panel}))


def test_agreement_is_kept_in_the_written_form_of_the_chosen_asr():
    row = _decide(
        base=SENTENCE, tiny=SENTENCE.lower(), third="the quick brown fox jumps over lazy dog"
    )
    assert row.kept
    assert row.reason is None
    assert (row.chosen_asr, row.text) == ("base", SENTENCE)
    assert row.voters == ("base", "tiny", "third")
    assert row.pwer == pytest.approx((2 * (1 / 9 + 1 / 8)) / 6)
    assert row.pwer_without[2] == 0.0
    assert 0.8 < row.confidence < 0.9


def test_disagreement_is_dropped_with_its_pwer_and_its_text_for_other_thresholds():
    row = _decide(base=SENTENCE, tiny="A quick frown box", third="jumps over a hazy fog today")
    assert not row.kept
    assert row.reason == "disagreement"
    assert row.value == row.pwer > 0.15
    assert row.text is not None


def test_the_threshold_itself_is_not_kept():
    # One word of twenty differs for one of three: 2 d / N = 2 * 0.225 / 3.
    same = " ".join(f"word{chr(97 + index)}" for index in range(20))
    other = " ".join(f"word{chr(97 + index)}" if index > 3 else "x" for index in range(20))
    row = _decide(base=same, tiny=same, third=other, duration_s=9.0)
    at_threshold = ConsensusConfig(panels={"en": PANEL}, max_pwer=row.pwer)
    hypotheses = {
        asr: Hypothesis(text) for asr, text in (("base", same), ("tiny", same), ("third", other))
    }
    assert decide(PANEL, hypotheses, "en", 9.0, at_threshold).reason == "disagreement"


def test_silence_heard_by_all_is_non_speech_and_by_one_is_disagreement():
    assert _decide(base="", tiny=" [music]", third="...").reason == "non_speech"
    row = _decide(base="", tiny=SENTENCE, third=SENTENCE)
    assert (row.reason, row.wer_matrix[0]) == ("disagreement", (0.0, 1.0, 1.0))


def test_an_asr_that_raised_or_has_no_row_makes_n_smaller():
    row = _decide(base=SENTENCE, tiny=RuntimeError("out of memory"))
    assert row.reason == "too_few_voters"
    assert row.value == 1.0
    assert [(each.asr, each.reason) for each in row.struck] == [
        ("tiny", "absent"),
        ("third", "absent"),
    ]
    assert _decide(base=SENTENCE, tiny=SENTENCE).kept


def test_a_hallucination_is_struck_and_the_others_decide():
    row = _decide(base=SENTENCE, tiny="thank you " * 30, third=SENTENCE, duration_s=8.0)
    assert row.kept
    assert row.voters == ("base", "third")
    assert (row.struck[0].asr, row.struck[0].reason, row.struck[0].value) == ("tiny", "loop", 30.0)


FIVE = PanelConfig(voters=("a", "b", "c", "d", "e"))


def _outvote(limit: float | None, *said: str, panel: PanelConfig = FIVE, min_voters: int = 3):
    config = ConsensusConfig(
        panels={"en": panel}, max_outlier_distance=limit, min_voters=min_voters
    )
    hypotheses = dict(zip(panel.voters, map(Hypothesis, said), strict=True))
    return decide(panel, hypotheses, "en", 4.0, config)


def test_one_bad_voter_of_five_has_a_vote_only_by_the_papers_rule():
    said = [SENTENCE] * 4 + ["in a hole in the ground there lived"]
    plain, lenient = _outvote(None, *said), _outvote(0.3, *said)
    assert (plain.reason, plain.pwer) == ("disagreement", pytest.approx(0.4))
    assert plain.pwer_other_rule == 0.0
    assert lenient.kept
    assert (lenient.voters, lenient.pwer) == (("a", "b", "c", "d"), 0.0)
    assert (lenient.struck[0].asr, lenient.struck[0].reason) == ("e", "outlier")
    assert lenient.struck[0].value == pytest.approx(1.0)
    assert lenient.pwer_other_rule == plain.pwer


def test_leaving_out_never_leaves_it_to_two_nor_to_silence():
    three = PanelConfig(voters=("a", "b", "c"))
    said = (SENTENCE, SENTENCE, "in a hole in the ground there lived")
    assert _outvote(0.3, *said, panel=three, min_voters=2).reason == "disagreement"
    four = PanelConfig(voters=("a", "b", "c", "d"))
    assert _outvote(0.3, SENTENCE, *said, panel=four).kept
    assert _outvote(0.3, SENTENCE, *said, panel=four, min_voters=4).reason == "disagreement"
    silent = _outvote(0.3, "", "", "", "", SENTENCE)
    assert (silent.reason, silent.pwer_other_rule) == ("disagreement", None)
    # One bad voter, and one only: two of five that differ from the rest and from each other.
    row = _outvote(0.3, *[SENTENCE] * 3, "no such thing was said", "nor was anything else of it")
    assert row.reason == "disagreement"


def test_another_rule_reruns_consensus_and_what_follows(tmp_path):
    def lenient(section: dict) -> None:
        section["consensus"]["max_outlier_distance"] = 0.3

    before, after = (
        fingerprints(build_stages(read_pipeline(file, "laptop")), {"recordings": "1"})
        for file in (ROOT / "pipelines.yaml", pipelines(tmp_path, lenient))
    )
    assert {name for name in after if after[name] != before[name]} == {"consensus", "alignment"}


def test_hallucination_is_the_reason_where_it_costs_the_quorum():
    panel = PanelConfig(voters=("base", "tiny"))
    row = _decide(panel, base=SENTENCE, tiny="thank you " * 30, duration_s=8.0)
    assert (row.reason, row.value) == ("hallucination", 30.0)
    looping = _decide(panel, base="谢谢" * 20, tiny="谢谢" * 19, language="zh", duration_s=12.0)
    assert looping.reason == "hallucination"
    assert looping.text is None


def test_a_verifier_that_heard_something_else_vetoes():
    row = _decide(
        VERIFIED, base=SENTENCE, tiny=SENTENCE, ctc="the quick brown box jumps over a dog"
    )
    assert row.kept
    assert row.verifier_distance == pytest.approx(3 / 9)
    assert row.voters == ("base", "tiny")  # it has no vote
    row = _decide(VERIFIED, base=SENTENCE, tiny=SENTENCE, ctc="in a hole in the ground there lived")
    assert row.reason == "unverified"
    assert row.value == row.verifier_distance > 0.4
    row = _decide(VERIFIED, base=SENTENCE, tiny=SENTENCE)
    assert (row.reason, row.value) == ("unverified", None)


def test_a_verifier_replaces_a_voter_only_where_the_panel_says_so():
    lone = {"voters": ("base",), "verifier": "ctc"}
    assert _decide(PanelConfig(**lone), base=SENTENCE, ctc=SENTENCE).reason == "too_few_voters"
    replacing = PanelConfig(**lone, verifier_replaces_voter=True)
    row = _decide(replacing, base=SENTENCE, ctc=SENTENCE)
    assert row.kept
    assert row.pwer is None
    assert _decide(replacing, base=SENTENCE).reason == "too_few_voters"
    assert _decide(replacing, base=SENTENCE, ctc="no").reason == "unverified"


def test_rover_elects_and_names_its_skeleton():
    config = ConsensusConfig(panels={"en": PANEL}, combine="rover", max_pwer=0.5)
    hypotheses = {
        "base": Hypothesis("The quick brown box jumps over the lazy dog.", confidence=0.9),
        "tiny": Hypothesis("the quick brown fox jumps over a lazy dog", confidence=0.9),
        "third": Hypothesis("The quick frown fox jumps over the lazy dog", confidence=0.9),
    }
    row = decide(PANEL, hypotheses, "en", 3.0, config)
    assert row.text == SENTENCE
    assert row.chosen_asr == "base"


def test_a_config_that_asks_for_nonsense_is_refused():
    for section, complaint in (
        ({"panels": {"en": {"voters": ["a", "a"]}}}, "stands twice"),
        ({"panels": {"en": {"voters": ["a"], "verifier": "a"}}}, "stands twice"),
        (
            {"panels": {"en": {"voters": ["a"], "verifier_replaces_voter": True}}},
            "needs a verifier",
        ),
        ({"panels": {"en": {"voters": ["a", "b"]}}, "min_voters": 1}, "min_voters"),
        ({"panels": {"en": {"voters": ["a", "b"]}}, "max_pwr": 0.1}, "max_pwer"),
    ):
        with pytest.raises(UserError, match=complaint):
            parse(ConsensusConfig, section, "pipelines.yaml")


STAGE_CONFIG = ConsensusConfig(
    panels={"en": PanelConfig(voters=("base", "tiny")), "zh": PanelConfig(voters=("base",))},
    identifier="base",
)
STAGE_INPUTS = ("utterances", "hypotheses/base", "hypotheses/tiny")


def _table(schema: pa.Schema, given: list[dict]) -> pa.Table:
    """Rows with every field that the test does not care about at a neutral value."""
    neutral = {
        field.name: None
        if field.nullable
        else ([] if pa.types.is_list(field.type) else "" if pa.types.is_string(field.type) else 0)
        for field in schema
    }
    return pa.Table.from_pylist([neutral | row for row in given], schema)


def _inputs() -> dict[str, Artifact]:
    spoken = {
        "r-1": (None, ("en", 0.99), SENTENCE, SENTENCE.lower()),
        "r-2": (None, ("en", 0.30), SENTENCE, SENTENCE),
        "r-3": ("en-GB", ("cy", 0.20), SENTENCE, SENTENCE),
        "r-4": (None, ("zh", 0.99), "你好世界", None),
        "r-5": (None, ("sv", 0.99), "hej på dig", None),
        "r-6": (None, ("en", 0.99), SENTENCE, "nothing like it at all, not one word"),
    }
    utterances = [
        {"utterance_id": key, "recording_id": key, "start_s": 4.0 * index, "end_s": 4.0 * index + 3,
         "duration_s": 3.0}
        for index, (key, said) in enumerate(spoken.items())
    ]  # fmt: skip
    base = [
        {"utterance_id": key, "asr": "base", "text": said[2], "confidence": 0.9,
         "language": said[1][0], "language_probability": said[1][1]}
        for key, said in spoken.items()
    ]  # fmt: skip
    tiny = [
        {"utterance_id": key, "asr": "tiny", "text": said[3]}
        for key, said in spoken.items()
        if said[3] is not None
    ]
    return {
        "recordings": recordings({key: said[0] for key, said in spoken.items()}),
        "utterances": Artifact(_table(UTTERANCES, utterances)),
        "hypotheses/base": Artifact(_table(HYPOTHESES, base)),
        "hypotheses/tiny": Artifact(_table(HYPOTHESES, tiny)),
    }


def test_stage_gives_every_utterance_a_row_and_every_loss_a_reject():
    stage = ConsensusStage("consensus", STAGE_CONFIG, STAGE_INPUTS)
    artifact = stage.process("part-00000", _inputs(), NoAttempts())
    assert artifact.table.schema.equals(CONSENSUS)
    by_key = {row["utterance_id"]: row for row in artifact.table.to_pylist()}
    assert {key: row["reason"] for key, row in by_key.items()} == {
        "r-1": None,
        "r-2": "language_uncertain",
        "r-3": None,  # the manifest outweighs the identifier
        "r-4": "too_few_voters",
        "r-5": "too_few_voters",  # no panel at all
        "r-6": "disagreement",
    }
    assert by_key["r-1"]["text"] == SENTENCE
    assert by_key["r-3"]["language"] == "en"
    assert all(math.isnan(value) for value in by_key["r-1"]["pwer_without"])
    dropped = {key for key, row in by_key.items() if not row["kept"]}
    assert {reject.utterance_id for reject in artifact.rejects} == dropped
    assert all(
        reject.seconds == reject.end_s - reject.start_s == 3.0 for reject in artifact.rejects
    )
    disagreement = next(each for each in artifact.rejects if each.reason == "disagreement")
    assert disagreement.value == by_key["r-6"]["pwer"]


def _given(role: str, texts: dict[str, str], **tables: Artifact) -> dict[str, dict]:
    """Rows of consensus by utterance where a manifest gives texts that have that role."""
    config = STAGE_CONFIG.model_copy(update={"given": role})
    stage = ConsensusStage("consensus", config, STAGE_INPUTS)
    inputs = _inputs() | tables
    languages = {"r-4": "zh", "r-3": "en-GB"}
    told = [
        {"recording_id": f"r-{n}", "language": languages.get(f"r-{n}"), "text": texts.get(f"r-{n}")}
        for n in range(1, 7)
    ]
    inputs["recordings"] = artifact("recordings", *told)
    table = stage.process("p", inputs, NoAttempts()).table
    return {row["utterance_id"]: row for row in table.to_pylist()}


TEXTS = {"r-1": SENTENCE.upper(), "r-3": "A text of other audio altogether", "r-4": "你好，世界。"}


def test_a_given_text_is_compared_and_decides_nothing_unless_it_is_asked_to():
    silent, told = _given("report", {}), _given("report", TEXTS)
    assert told["r-1"]["given_pwer"] == 0.0
    assert told["r-3"]["given_pwer"] > 0.9
    assert told["r-4"]["given_pwer"] == 0.0
    assert told["r-6"]["given_pwer"] is None  # the manifest gives none
    for key, row in told.items():
        assert repr(row | {"given_pwer": None}) == repr(silent[key])


def test_a_given_text_votes_as_one_recogniser_more():
    rows = _given("vote", TEXTS)
    assert rows["r-1"]["voters"] == ["base", "tiny", "given"]
    assert (rows["r-1"]["text"], rows["r-1"]["kept"]) == (SENTENCE, True)
    assert (rows["r-3"]["reason"], rows["r-3"]["given_pwer"] > 0.9) == ("disagreement", True)
    # With it there are two voters where there was one.
    assert (rows["r-4"]["kept"], rows["r-4"]["text"]) == (True, "你好世界")
    assert rows["r-6"]["voters"] == ["base", "tiny"]


def test_a_given_text_verifies():
    rows = _given("verify", TEXTS)
    assert [rows[key]["verifier"] for key in ("r-1", "r-3", "r-6")] == ["given", "given", None]
    assert rows["r-1"]["kept"]
    assert rows["r-3"]["reason"] == "unverified"
    assert rows["r-3"]["verifier_distance"] > 0.4


@pytest.mark.parametrize(
    ("lost_s", "reason", "compared"),
    [(0.2, "truncated", True), (1.0, "truncated", False), (60.0, "non_speech", True)],
)
def test_a_given_text_is_of_the_utterance_only_where_that_is_all_the_speech(
    lost_s: float, reason: str, compared: bool
):
    cuts = Artifact(_inputs()["utterances"].table, rejects=[Reject("r-1", reason, lost_s)])
    row = _given("vote", TEXTS, utterances=cuts)["r-1"]
    assert (row["given_pwer"] is not None) == compared
    assert ("given" in row["voters"]) == compared


def test_a_given_text_is_not_of_one_utterance_among_others():
    first = _inputs()["utterances"].table.slice(0, 1).to_pylist()[0]
    more = _table(UTTERANCES, [first, first | {"utterance_id": "r-1-b"}])
    assert _given("vote", TEXTS, utterances=Artifact(more))["r-1"]["given_pwer"] is None


def test_stage_gives_the_same_table_every_time():
    stage = ConsensusStage("consensus", STAGE_CONFIG, STAGE_INPUTS)
    first, second = (stage.process("p", _inputs(), NoAttempts()) for _ in range(2))
    assert repr(first.table.to_pylist()) == repr(second.table.to_pylist())
    assert first.rejects == second.rejects


def test_stage_of_no_utterances_is_an_empty_table():
    empty = {
        "recordings": recordings({}),
        "utterances": Artifact(UTTERANCES.empty_table()),
        "hypotheses/base": Artifact(HYPOTHESES.empty_table()),
        "hypotheses/tiny": Artifact(HYPOTHESES.empty_table()),
    }
    stage = ConsensusStage("consensus", STAGE_CONFIG, STAGE_INPUTS)
    artifact = stage.process("p", empty, NoAttempts())
    assert artifact.table.num_rows == 0
    assert artifact.table.schema.equals(CONSENSUS)


def test_a_panel_that_names_an_unknown_asr_never_starts():
    with pytest.raises(UserError, match="'tiny'"):
        ConsensusStage("consensus", STAGE_CONFIG, ("utterances", "hypotheses/base"))


def test_a_recording_in_quarantine_is_not_touched():
    class Quarantine(NoAttempts):
        quarantined = frozenset(f"r-{number}" for number in range(1, 7))

    stage = ConsensusStage("consensus", STAGE_CONFIG, STAGE_INPUTS)
    artifact = stage.process("p", _inputs(), Quarantine())
    assert {reject.reason for reject in artifact.rejects} == {"quarantined"}
