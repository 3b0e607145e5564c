"""Logs: what is bound to a line, and what never stands in one."""

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from kommo import log
from tests.integration.workers.logs import Lines, logged, logging_restored

SIGNATURE = "5f" * 32
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJjIn0.c2lnbmF0dXJl"


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


def logger() -> structlog.stdlib.BoundLogger:
    """A logger of this test's own: one that was used before keeps the configuration it met."""
    fresh: structlog.stdlib.BoundLogger = structlog.get_logger("kommo.test")
    return fresh


def test_a_line_says_when_how_grave_where_and_what(lines: Lines) -> None:
    logger().warning("step failed", ms=12)
    (line,) = lines.all
    assert line.pop("timestamp").endswith("Z")
    assert line == {"message": "step failed", "level": "warning", "logger": "kommo.test", "ms": 12}


def test_what_a_block_is_about_stands_in_every_line_of_it_and_in_none_after(lines: Lines) -> None:
    with log.about(delivery="d1", account=101, event="e1", handler="h", attempt=2):
        logger().info("inside")
        logging.getLogger("library").info("of a library")
    logger().info("after")
    inside, library, after = lines.all
    for line in (inside, library):
        about = {name: line[name] for name in ("delivery", "account", "event", "handler", "attempt")}
        assert about == {"delivery": "d1", "account": 101, "event": "e1", "handler": "h", "attempt": 2}
    assert "delivery" not in after
    assert "event" not in after


def test_blocks_nest_and_the_inner_one_gives_back_what_it_changed(lines: Lines) -> None:
    with log.about(account=1, event="outer"):
        with log.about(event="inner"):
            logger().info("a")
        logger().info("b")
    assert [(line["account"], line["event"]) for line in lines.all] == [(1, "inner"), (1, "outer")]


def test_a_block_without_an_event_names_none(lines: Lines) -> None:
    with log.about(account=1):
        logger().info("a")
    assert "event" not in lines.all[0]


@pytest.mark.parametrize(
    "text",
    [
        f"/webhooks/101/{SIGNATURE}/",
        f"POST /webhooks/101/{SIGNATURE} HTTP/1.1",
        f"/webhooks/101/?signature={SIGNATURE}",
        "/webhooks/101/?signature=short-proof",
        "/webhooks?signature=short-proof",
        "//webhooks/101/short-proof/",
        "https://hooks.example.org/webhooks/101/short-proof/",
        "/oauth/callback?code=short-proof&state=x",
        "/chats/short-proof",
        "redis://worker:short-proof@cache.example:6379/0",
        "amqp://:short-proof@queue.example",
        "Authorization: Bearer short-proof",
        "authorization: bearer short-proof",
        f"token {JWT} refused",
        f"X-Signature: {SIGNATURE}",
        f"signature={SIGNATURE.upper()}",
    ],
)
def test_proofs_tokens_and_passwords_are_taken_out_of_a_text(text: str) -> None:
    masked = log.mask(text)
    assert "***" in masked
    for secret in ("short-proof", SIGNATURE, SIGNATURE.upper(), JWT):
        assert secret not in masked


@pytest.mark.parametrize(
    "text",
    [
        "delivery 0190a1b2c3d4 stored",
        "https://acme.kommo.com/api/v4/leads",
        "redis://cache.example:6379/0",
        "/health/ready",
        "GET /api/v4/webhooks_of_mine",
        "GET /api/v4/webhooks answered 402",
        "POST /api/v4/contacts/chats",
        "POST /oauth2/access_token",
        f"{'5f' * 16} is an event's id",
        "the bearer",
        "",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert log.mask(text) == text


def test_what_stays_of_an_address_is_whose_door_it_was() -> None:
    assert log.mask(f"POST /webhooks/101/{SIGNATURE}/ HTTP/1.1") == "POST /webhooks/*** HTTP/1.1"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("/api/v4/webhooks?destination=short-proof", "/api/v4/webhooks?***"),
        (f"/api/v4/webhooks?d=https://hooks.example.org/webhooks/101/{SIGNATURE}/", "/api/v4/webhooks?***"),
        (f"/api/v4/webhooks/{SIGNATURE}", "/api/v4/webhooks/***"),
        ("https://hooks.example.org/under/webhooks/101/short-proof", "https://hooks.example.org/under/webhooks/***"),
    ],
)
def test_of_kommos_own_path_with_the_name_of_a_door_only_what_may_be_a_proof_goes(text: str, masked: str) -> None:
    assert log.mask(text) == masked


@given(st.text())
def test_masking_is_done_in_one_go(text: str) -> None:
    assert log.mask(log.mask(text)) == log.mask(text)


def test_names_of_secrets_never_show_their_value(lines: Lines) -> None:
    logger().info("said too much", token="short-proof", body=b"short-proof", client_secret="short-proof", ms=1)
    (line,) = lines.all
    assert (line["token"], line["body"], line["client_secret"], line["ms"]) == ("***", "***", "***", 1)


@pytest.mark.parametrize(
    "value",
    [
        ValueError(f"refused {SIGNATURE}"),
        f"refused {SIGNATURE}".encode(),
        [f"/webhooks/101/{SIGNATURE}/"],
        (SIGNATURE,),
        {"url": f"/webhooks/101/{SIGNATURE}/", "kept": 3},
        {"deep": [{"signature": "short-proof"}]},
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_proof_within_a_value_is_masked_too(lines: Lines, value: object) -> None:
    logger().info("look", value=value)
    assert "look" in lines.text
    assert SIGNATURE not in lines.text
    assert "short-proof" not in lines.text


def test_tracebacks_are_masked(lines: Lines) -> None:
    error = RuntimeError(f"GET /webhooks/101/{SIGNATURE}/ with Bearer short-proof")
    logger().error("it failed", exc_info=error)
    logging.getLogger("library").error("it failed there too", exc_info=error)
    assert lines.text.count("RuntimeError") >= 2
    assert SIGNATURE not in lines.text
    assert "short-proof" not in lines.text


def test_lines_and_warnings_of_libraries_take_the_same_way(lines: Lines) -> None:
    logging.getLogger("gunicorn.error").warning("Invalid request %s", f"/webhooks/101/{SIGNATURE}/")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # The warning's own machinery asks where it came from; nothing else here depends on it.
        warnings.warn(f"about {SIGNATURE}", UserWarning, stacklevel=1)
    assert [line["logger"] for line in lines.all] == ["gunicorn.error", "py.warnings"]
    assert SIGNATURE not in lines.text


def test_libraries_that_log_every_hint_are_quiet_unless_something_is_wrong(lines: Lines) -> None:
    logging.getLogger("celery.app.trace").info("Task workers.run succeeded")
    logging.getLogger("celery.app.trace").error("Task workers.run raised")
    assert [line["level"] for line in lines.all] == ["error"]


def test_the_level_holds_for_all() -> None:
    with logged("WARNING") as lines:
        logger().info("not this")
        logging.getLogger("library").info("nor this")
        logger().warning("this")
        assert [line["message"] for line in lines.all] == ["this"]


def test_cyrillic_stays_readable(lines: Lines) -> None:
    logger().info("note", text="Перезвонить")
    assert "Перезвонить" in lines.text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_lines_for_people_and_a_pipe_gets_json() -> None:
    with logging_restored():
        log.configure(stream=(terminal := Terminal()))
        with log.about(event="e1"):
            logger().info("stored", delivery="d1", url=f"/webhooks/101/{SIGNATURE}/")
        log.configure(stream=(pipe := io.StringIO()))
        logger().info("stored", delivery="d1")
    shown = terminal.getvalue()
    assert "stored" in shown
    assert "e1" in shown
    assert SIGNATURE not in shown
    with pytest.raises(ValueError, match=r"Expecting value|Extra data"):
        json.loads(shown)
    assert json.loads(pipe.getvalue())["delivery"] == "d1"


class Refusing(io.StringIO):
    """A stream that is full, or takes ASCII only."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        if not (isinstance(self.error, UnicodeEncodeError) and text.isascii()):
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenPipeError(), ValueError("closed")])
def test_what_logs_does_not_fail_because_its_line_cannot_be_written(error: Exception) -> None:
    with logging_restored():
        log.configure(stream=Refusing(error), json=True)
        logger().info("said in vain")


def test_a_line_is_written_in_ascii_where_the_stream_takes_nothing_else() -> None:
    stream = Refusing(UnicodeEncodeError("ascii", "x", 0, 1, "no"))
    with logging_restored():
        log.configure(stream=stream, json=True)
        logger().info("Лид \ud800")
    assert json.loads(stream.getvalue())["message"] == "Лид \ud800"


def test_a_logger_that_was_used_before_follows_a_new_configuration(lines: Lines) -> None:
    used = logger()
    used.info("here")
    elsewhere = io.StringIO()
    log.configure(level="WARNING", stream=elsewhere, json=True)
    used.info("not wanted")
    used.warning("there")

    assert [line["message"] for line in lines.all] == ["here"]
    assert [json.loads(line)["message"] for line in elsewhere.getvalue().splitlines()] == ["there"]
