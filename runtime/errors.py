"""Errors that a person reads."""


class UserError(Exception):
    """What is wrong with the run, where, and what to do next, in one sentence.

    The command line prints the message alone and exits with status 2; everything else that
    is raised is a fault of ours and keeps its traceback.
    """


# What is no recording's fault, whatever was being worked on: a stage lets these through, where
# every other exception becomes the recording's reject.
NOBODYS_FAULT = (UserError, MemoryError)
