"""What the config sections of all speech recognisers share."""

from __future__ import annotations

from gpa.runtime.config import Config


class ASRConfig(Config):
    """A recogniser's section.

    `languages` limits it to these ISO 639-1 codes; null stands for all that its model speaks.
    """

    languages: tuple[str, ...] | None = None
