"""Who is let in, for how long, and that everybody who was in is counted out again."""

from __future__ import annotations

import anyio
import pytest
from starlette.exceptions import HTTPException

from gpa.eval.serving.admission import Admission
from gpa.eval.serving.limits import ServeConfig

BODY = [{"type": "http.request", "body": b"12345", "more_body": True}] * 3


def ask(app, config: ServeConfig, messages=(), method: str = "POST", **headers: str):
    """What an application behind the door is sent, and the door, after one request."""
    door, sent, coming = Admission(app, config), [], iter(messages)

    async def receive():
        for message in coming:
            return message
        await anyio.sleep_forever()

    async def send(message) -> None:
        sent.append(message)

    named = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    scope = {"type": "http", "method": method, "headers": named}
    try:
        anyio.run(door, scope, receive, send)
    finally:
        assert door.inside == 0
    return sent


async def reads_all(scope, receive, send) -> None:
    while (await receive()).get("more_body"):
        pass


async def never_called(scope, receive, send) -> None:
    raise AssertionError


def test_a_declared_body_over_the_limit_is_refused_unread():
    sent = ask(never_called, ServeConfig(body_mb=1), content_length="1000001")
    assert sent[0]["status"] == 413


def test_an_undeclared_body_is_cut_off_at_the_limit():
    with pytest.raises(HTTPException) as refused:
        ask(reads_all, ServeConfig(body_mb=14e-6), BODY)
    assert refused.value.status_code == 413


def test_a_body_that_does_not_come_in_time_is_given_up():
    with pytest.raises(HTTPException) as refused:
        ask(reads_all, ServeConfig(upload_s=0.01), BODY)
    assert refused.value.status_code == 408


def test_who_has_sent_all_may_wait_as_long_as_it_takes():
    async def listens(scope, receive, send) -> None:
        await receive()
        with anyio.move_on_after(0.05) as waiting:  # for the client to leave
            await receive()
        assert waiting.cancelled_caught

    ask(listens, ServeConfig(upload_s=0.01), [{"type": "http.request", "body": b"1"}])


def test_when_all_places_are_taken_only_questions_pass():
    config = ServeConfig(slots=1, queue=1)

    async def inner(scope, receive, send) -> None:
        """A request inside, with another one inside it, and so on."""
        passed.append(scope["method"])
        await door(scope | {"method": next(methods)}, receive, send)

    async def send(message) -> None:
        statuses.append(message.get("status"))

    passed: list[str] = []
    statuses: list[int | None] = []
    methods = iter(["POST", "GET", "GET", "POST"])
    door = Admission(inner, config)
    anyio.run(door, {"type": "http", "method": "POST", "headers": []}, None, send)
    assert passed == ["POST", "POST", "GET", "GET"]
    assert statuses[0] == 503
    assert door.inside == 0
