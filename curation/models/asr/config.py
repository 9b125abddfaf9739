"""What the config sections of all speech recognisers share."""

from __future__ import annotations

from gpa.runtime.models import ModelConfig


class ASRConfig(ModelConfig):
    """A recogniser's section.

    `languages` limits it to these ISO 639-1 codes; null stands for all that its model speaks.
    """

    languages: tuple[str, ...] | None = None
