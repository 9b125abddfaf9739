"""Options that several commands share: a dataclass whose fields typer asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from gpa.runtime.options import with_options


@dataclass(frozen=True)
class Voice:
    speaker: Annotated[str, typer.Option(help="Who is heard.")]
    rate_hz: int = 16000


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @with_options
    def say(text: str, loud: bool = False, *, voice: Voice) -> None:
        """Say it."""
        print(text, loud, voice)

    return app


def test_a_command_is_handed_the_dataclass_of_its_options(app: typer.Typer):
    said = CliRunner().invoke(app, ["hello", "--loud", "--speaker", "Ada", "--rate-hz", "8000"])
    assert said.stdout == "hello True Voice(speaker='Ada', rate_hz=8000)\n"


def test_an_option_without_a_default_is_demanded(app: typer.Typer):
    assert CliRunner().invoke(app, ["hello"]).exit_code == 2
    assert "rate_hz=16000" in CliRunner().invoke(app, ["hello", "--speaker", "Ada"]).stdout
