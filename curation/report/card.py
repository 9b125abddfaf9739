"""`curated/README.md`: the dataset card, in the format that the model hub reads."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

import yaml

from gpa.curation.report.audit import Audit
from gpa.curation.report.licences import lineage
from gpa.curation.report.page import templates

NAME = "curated/README.md"
# The hub's classes of size, by the number of utterances from which each begins.
SIZES = (
    (0, "n<1K"),
    (1_000, "1K<n<10K"),
    (10_000, "10K<n<100K"),
    (100_000, "100K<n<1M"),
    (1_000_000, "1M<n<10M"),
    (10_000_000, "10M<n<100M"),
)


def dataset_card(content: Mapping[str, Any], found: Audit) -> str:
    """The card of a finished run; `content` is that of `run.json`."""
    kept = found.funnel.kept_utterances
    languages = {
        name: group for name, group in sorted(found.agreement.languages.items()) if group.kept
    }
    licence = content["config"]["corpus_licence"]
    front = {
        "language": list(languages),
        "license": licence.lower(),  # the hub's identifiers are those of SPDX in lower case
        "task_categories": ["automatic-speech-recognition", "text-to-speech"],
        "size_categories": [next(name for least, name in reversed(SIZES) if kept >= least)],
        "tags": ["webdataset", "speech"],
        "configs": [{"config_name": "default", "data_files": "shard-*.tar"}],
    }
    environment = templates().overlay(autoescape=False, keep_trailing_newline=True)  # Markdown
    environment.filters["cell"] = _cell
    return environment.get_template("card.md.j2").render(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True),
        content=content,
        config=content["config"],
        funnel=found.funnel,
        agreement=found.agreement,
        threshold=found.agreement.thresholds()[found.agreement.place],
        languages=languages,
        lineage=lineage(content["models"]),
    )


def _cell(text: str) -> str:
    """Text that can stand in a cell of a Markdown table and means nothing as markup."""
    in_markdown = re.sub(r"[\\|*\[\]`]", r"\\\g<0>", " ".join(text.split()))
    return html.escape(in_markdown, quote=False)
