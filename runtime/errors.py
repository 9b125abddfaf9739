"""Errors that a person reads, and those that are no recording's."""

from __future__ import annotations

from collections.abc import Mapping


class UserError(Exception):
    """What is wrong with the run, where, and what to do next, in one sentence.

    The command line prints the message alone and exits with status 2; everything else that
    is raised is a fault of ours and keeps its traceback.
    """


class NotReadError(Exception):
    """Storage did not hand out files: why, by the file's address.

    No permission, a time-out, a reset: that is no fact about their bytes, so nothing of it may
    become an artifact. The rest of the run goes on, and the next run asks again.
    """

    def __init__(self, why: Mapping[str, str]):
        super().__init__("; ".join(f"{uri}: {reason}" for uri, reason in why.items()))
        self.why = dict(why)

    def __reduce__(self) -> tuple[type[NotReadError], tuple[dict[str, str]]]:
        return NotReadError, (self.why,)


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    said = getattr(error, "strerror", None) or str(error)
    return " ".join(str(said).split()) or type(error).__name__


# What is no recording's fault, whatever was being worked on: a stage lets these through, where
# every other exception becomes the recording's reject.
NOBODYS_FAULT = (UserError, MemoryError, NotReadError)


def fault(error: Exception) -> str:
    """What a recording's reject says of the error at work on it; raises what is nobody's fault."""
    if isinstance(error, NOBODYS_FAULT):
        raise error
    return f"{type(error).__name__}: {error}"
