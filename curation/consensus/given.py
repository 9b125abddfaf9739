"""The text that a manifest gives: a hypothesis of its own, where it is one of an utterance."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from gpa.curation.consensus.agreement import pwer_against
from gpa.curation.hypotheses import Heard
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.text.units import units
from gpa.runtime.stage import Artifact, rows

# What it is called among the ASRs.
GIVEN = "given"
# Of the seconds of a recording's one utterance: so much other speech leaves it the only one.
MOST_LOST = 0.1


def one_utterance(utterances: Artifact) -> set[str]:
    """Recordings that are one utterance, and hold hardly any other speech: ids.

    What was dropped of a recording's speech is in a text that is given for it.
    """
    speech_s: dict[str, float] = defaultdict(float)
    for row in rows(utterances.table.select(["recording_id", "duration_s"])):
        once = row["recording_id"] not in speech_s
        speech_s[row["recording_id"]] = row["duration_s"] if once else math.inf
    lost_s: dict[str, float] = defaultdict(float)
    for reject in utterances.rejects:
        if reject.reason != "non_speech":
            lost_s[reject.recording_id] += reject.seconds
    return {
        key
        for key, seconds in speech_s.items()
        if seconds < math.inf and lost_s[key] <= MOST_LOST * seconds
    }


def given_pwer(heard: Mapping[str, Heard], voters: Sequence[str], language: str) -> float | None:
    """`agreement.pwer_against` the given text; None without one, or where nobody else voted."""
    in_units = {
        asr: units(each.text, language)
        for asr, each in heard.items()
        if isinstance(each, Hypothesis) and asr in (*voters, GIVEN)
    }
    given = in_units.pop(GIVEN, None)
    return pwer_against(list(in_units.values()), given) if given is not None and in_units else None
