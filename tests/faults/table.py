"""The table of faults that a test run ends with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table: one line a fault, of those tests that inject one."""
    lines = list(_table(terminalreporter))
    if lines:
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.write_line(line)


def _table(terminalreporter: pytest.TerminalReporter) -> Iterator[str]:
    found: dict[str, list[int]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            properties = dict(report.user_properties)
            if report.when != "call" or "fault" not in properties:
                continue
            sums = found.setdefault(properties["fault"], [0, 0, 0, 0])
            sums[0] += 1
            sums[1] += outcome == "passed"
            sums[2] += properties.get("lost", 0)
            sums[3] += properties.get("duplicated", 0)
    if not found:
        return
    head = ("fault", "injected", "survived", "utterances lost", "duplicated")
    width = max(map(len, found))
    yield f"{head[0]:<{width}}  " + "  ".join(head[1:])
    total = [sum(column) for column in zip(*found.values(), strict=True)]
    for name, sums in [*found.items(), ("all", total)]:
        columns = (f"{value:>{len(title)}}" for value, title in zip(sums, head[1:], strict=True))
        yield f"{name:<{width}}  " + "  ".join(columns)
