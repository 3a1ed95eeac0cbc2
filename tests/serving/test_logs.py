import json
import logging
import sys

from fulldeck.serving.logs import REQUEST_ID, JsonFormatter


def record(message: str, *arguments: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("fulldeck.x", logging.WARNING, "x.py", 1, message, arguments, None)
    made.__dict__.update(more)
    return made


def test_a_line_is_an_object_and_one_line_whatever_is_in_it():
    line = JsonFormatter().format(record("a %s\nb", "ü\x00\x1b", fields={"status": 200, "path": "/x"}))
    assert "\n" not in line
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "WARNING", "logger": "fulldeck.x", "message": "a ü\x00\x1b\nb", "status": 200, "path": "/x"
    }  # fmt: skip


def test_an_exception_is_in_its_line():
    try:
        int("what happened")
    except ValueError:
        line = JsonFormatter().format(record("failed", exc_info=sys.exc_info()))
    assert "\n" not in line
    assert "what happened" in json.loads(line)["exception"]


def test_what_is_logged_in_a_requests_course_has_its_id():
    token = REQUEST_ID.set("abc")
    try:
        assert json.loads(JsonFormatter().format(record("x")))["request_id"] == "abc"
    finally:
        REQUEST_ID.reset(token)
    assert "request_id" not in json.loads(JsonFormatter().format(record("x")))


def test_what_json_does_not_know_is_written_as_text():
    assert json.loads(JsonFormatter().format(record("x", fields={"path": sys})))["path"].startswith("<module")
