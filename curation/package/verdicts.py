"""What people say of labels: `verdicts.jsonl`, a line each, of the report and of the explorer.

A line has `utterance_id`, `verdict` (right, wrong, unsure), `reviewer`, and `text` where somebody
typed what is really said. The last line of a reviewer about an utterance counts. Where two
reviewers differ, nothing is known: not whether the label is right, and no text is taken over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gpa.runtime.config import read_text
from gpa.runtime.errors import UserError

# A text belongs to audio of this length, to within so much.
SAME_AUDIO_S = 0.05


class Verdict(BaseModel):
    """One verdict; a corrected `text` says that the label is wrong."""

    model_config = ConfigDict(extra="forbid")
    utterance_id: str = Field(min_length=1, max_length=200)
    verdict: Literal["right", "wrong", "unsure"]
    reviewer: str = Field(default="", max_length=100)
    text: str | None = Field(default=None, max_length=10_000)
    # Of the audio that was heard: another cut may begin at the same place.
    duration_s: float | None = None


# The last verdict of each reviewer, by utterance and reviewer.
ByReviewer = Mapping[str, Verdict]


def read_verdicts(file: Path) -> dict[str, dict[str, Verdict]]:
    """The last verdict of each reviewer, by utterance and reviewer.

    Raises UserError naming the line at fault.
    """
    found: dict[str, dict[str, Verdict]] = {}
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = dict(json.loads(line))  # which may say more
            told = {name: row[name] for name in Verdict.model_fields if name in row}
            verdict = Verdict.model_validate(told)
        except (ValueError, TypeError) as error:
            what = f"{file}, line {number}"
            if isinstance(error, ValidationError) and error.errors()[0]["type"] != "missing":
                wrong = error.errors()[0]
                raise UserError(
                    f"{what}: {wrong['loc'][0]}: {wrong['msg']}, not {wrong['input']!r}."
                ) from None
            raise UserError(f"{what} must be an object with utterance_id and verdict.") from None
        found.setdefault(verdict.utterance_id, {})[verdict.reviewer] = verdict
    return found


def agreed(verdicts: Iterable[Verdict]) -> Verdict | None:
    """What reviewers say of one utterance; None where two of them differ.

    Who is unsure is not asked. "wrong" goes with any text, and a text with the same text alone.
    """
    sure = [each for each in verdicts if each.verdict != "unsure"]
    if len({each.verdict for each in sure}) != 1:
        return None
    texts = [each for each in sure if each.text and each.text.strip()]
    if len({" ".join((each.text or "").split()) for each in texts}) > 1:
        return None
    return texts[0] if texts else sure[0]


@dataclass(frozen=True)
class Correction:
    """A text that is a person's, and whose: names of all who typed it, in order."""

    text: str
    corrected_by: str
    duration_s: float | None = None

    def of(self, duration_s: float) -> bool:
        """Whether it was typed for audio of that length."""
        return self.duration_s is None or abs(self.duration_s - duration_s) < SAME_AUDIO_S


def corrections(verdicts: Mapping[str, ByReviewer]) -> dict[str, Correction]:
    """The corrected texts on which reviewers do not differ, by utterance, white space as one."""
    found = {}
    for utterance_id, by_reviewer in sorted(verdicts.items()):
        one = agreed(by_reviewer.values())
        if one is not None and one.verdict == "wrong" and one.text and one.text.strip():
            typed = [each for each in by_reviewer.values() if each.verdict == "wrong" and each.text]
            names = ", ".join(sorted(each.reviewer or "a reviewer" for each in typed))
            found[utterance_id] = Correction(" ".join(one.text.split()), names, one.duration_s)
    return found
