"""What native code writes to the terminal."""

from __future__ import annotations

import os

from gpa.runtime.chatter import without_native_chatter


def test_native_chatter_is_swallowed_and_nothing_after_it(capfd):
    with without_native_chatter():
        os.write(2, b"----5---10---15")
    os.write(2, b"a warning")
    assert capfd.readouterr().err == "a warning"
