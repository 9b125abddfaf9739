"""Under which licence a tokenizer's weights are given out, and what follows from it.

Licences are those of the cards of their sources; the folder of a checkpoint has its own in the
head of its README.md, as the hub's cards do.
"""

from __future__ import annotations

from pathlib import Path

import yaml

# By the name on the hub, or how a folder is called.
CARDS = {
    "Spark-TTS-0.5B": "CC BY-NC-SA 4.0",
    "GPA": "Apache-2.0",
    "glm-4-voice-tokenizer": "GLM-4 model licence",
}
NOT_NEEDED = "none needed"
NOT_SAID = "licence not said by its folder (a README.md with `license:` in its head would)"


def licence_of(name: str, folder: Path) -> str:
    """The licence of weights by their name in the config and the folder they were found in."""
    if name == "random":
        return NOT_NEEDED
    said = next(
        (found for place in (folder, folder.parent) if (found := _in_card(place / "README.md"))),
        None,
    )
    return said or CARDS.get(Path(name).name, NOT_SAID)


def consequence(licence: str) -> str:
    """What follows for tokens and for models that learn them, a clause; empty where nothing does."""
    folded = licence.lower().replace(" ", "-")
    if "-nc" in folded:
        return "tokens, and models that learn them, are for non-commercial use"
    if "glm-4" in folded:
        return "read the LICENSE beside the weights before tokens or models serve a business"
    return ""


def _in_card(card: Path) -> str | None:
    """`license_name` or `license` in the YAML head of a card."""
    try:
        _, head, _ = card.read_text(encoding="utf-8").split("---", 2)
        content = yaml.safe_load(head)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    if not isinstance(content, dict):
        return None
    return content.get("license_name") or content.get("license")
