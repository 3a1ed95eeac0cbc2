"""What a client is told when a request fails: RFC 9457 problem bodies, which name the files that were at fault."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from fulldeck.errors import ImageError
from fulldeck.serving.schemas import BadFile, ProblemBody

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818  (RFC 9457's own word)
    """A request that gets no answer.

    Args:
        status: the HTTP status.
        code: the fault in a word or two, for programs, such as "not-an-image".
        detail: the fault in a sentence, for people.
        files: the files at fault, if it is files.
        headers: headers to send with it.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        files: list[BadFile] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.files = files or []
        self.headers = headers


_IMAGE_STATUSES = {
    "not_an_image": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "unsupported": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "too_many_bytes": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
}
"""Every other kind of image error is 422: the file is of a kind that we read, and cannot be used."""


def bad_file(error: ImageError, name: str, index: int) -> BadFile:
    """The entry of a file that is no usable image; its code is the error's kind."""
    return BadFile(
        file=name,
        index=index,
        status=_IMAGE_STATUSES.get(error.kind, HTTPStatus.UNPROCESSABLE_ENTITY),
        code=error.kind.replace("_", "-"),
        detail=str(error),
    )


def bad_files(files: list[BadFile]) -> Problem:
    """The problem of a request some of whose files cannot be used: their common status, or 422 where they differ."""
    statuses = {file.status for file in files}
    codes = {file.code for file in files}
    return Problem(
        status=statuses.pop() if len(statuses) == 1 else HTTPStatus.UNPROCESSABLE_ENTITY,
        code=codes.pop() if len(codes) == 1 else "bad-files",
        detail="; ".join(file.detail for file in files),
        files=files,
    )


def render(request_id: str | None, problem: Problem) -> Response:
    """The response that carries a problem."""
    body = ProblemBody(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        code=problem.code,
        detail=problem.detail,
        request_id=request_id or "",
        errors=problem.files,
    )
    content = ProblemBody.__pydantic_serializer__.to_json(body)
    return Response(content, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def refusal(request: Request, problem: Problem) -> Response:
    """The response of a request that gets no answer, which is counted."""
    request.app.state.metrics.problem(problem.code)
    return render(request.state.request_id, problem)


def install(app: FastAPI) -> None:
    """Make every refusal of ``app``, the framework's own too, a problem body."""

    def on_problem(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            phrase = HTTPStatus(error.status_code).phrase
            code = phrase.lower().replace(" ", "-")
            detail = error.detail if error.detail != phrase else f"{request.method} {request.url.path}: {phrase}"
            error = Problem(error.status_code, code, detail, headers=dict(error.headers or {}))
        elif isinstance(error, RequestValidationError):
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            error = Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", faults)
        assert isinstance(error, Problem)  # noqa: S101  (these three are all that are installed below)
        return refusal(request, error)

    for kind in (Problem, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, on_problem)


# A code and a sentence for each status that the description shows; a file's name stands before a colon.
_EXAMPLES = {
    400: ("malformed-multipart", "the multipart body ends before its closing boundary"),
    401: ("no-key", "this service asks for a key: send it as `Authorization: Bearer KEY`"),
    403: ("no-administrator", "this needs an administrator's key: make one with `fulldeck keys add NAME --admin`"),
    408: ("body-timeout", "the body did not arrive within 30 seconds"),
    409: ("model-refused", "model.onnx: there is no such model file; the old model serves on"),
    413: ("body-too-large", "the body is larger than 33,554,432 bytes: send fewer or smaller images"),
    415: (
        "not-an-image",
        "notes.txt: this is no image that fulldeck reads (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF)",
    ),
    422: ("truncated", "card.jpg: the JPEG is truncated; get the whole file"),
    429: ("rate-limit", "this key has sent too many images: try again in 3 s"),
    503: ("queue-full", "the service has as much to do as it can hold: try again in a second"),
    504: ("request-timeout", "the request was not answered within 60 seconds"),
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of these problem statuses."""
    entries: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        code, detail = _EXAMPLES[status]
        phrase = HTTPStatus(status).phrase
        name, _, named = detail.partition(": ") if status in {415, 422} else ("", "", "")
        files = [BadFile(file=name, index=0, status=status, code=code, detail=detail)] if named else []
        example = ProblemBody(
            title=phrase,
            status=status,
            code=code,
            detail=detail,
            request_id="9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d",
            errors=files,
        )
        entries[status] = {
            "description": phrase,
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/ProblemBody"},
                    "example": example.model_dump(),
                }
            },
        }
    return entries
