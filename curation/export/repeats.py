"""What is heard more than once in a corpus: a jingle, a notice, a programme that was sent twice.

Only what shares words is compared by ear: copies are transcribed alike, and reading all audio of a
large corpus twice is not what a few repeats are worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gpa.curation.curated import CuratedUtterance
from gpa.curation.export.contamination import heard, stretches
from gpa.curation.export.fingerprint import Fingerprints


def sharing_words(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Ids of the utterances of which a stretch of words (`stretches`) stands in another, too."""
    owners: dict[int, str] = {}  # by the hash of the stretch, which takes less room than it does
    shared: set[str] = set()
    for row in rows:
        for words in stretches(row["text"], row["language"]):
            owner = owners.setdefault(hash(words), row["utterance_id"])
            if owner != row["utterance_id"]:
                shared |= {owner, row["utterance_id"]}
    return shared


def repeats(utterances: Iterable[CuratedUtterance]) -> dict[str, str]:
    """Ids of those that are heard again, re-encoded or cut a little otherwise, and of what."""
    clips = (
        (each.metadata["utterance_id"], *sound) for each in utterances if (sound := heard(each))
    )
    return Fingerprints.of(clips, speeds=(1.0,)).repeats()
