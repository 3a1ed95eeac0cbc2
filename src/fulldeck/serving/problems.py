"""What a client is told when a request fails: RFC 9457 problem bodies, which name the files that were at fault."""

from dataclasses import asdict, dataclass
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fulldeck.errors import ImageError
from fulldeck.serving import answers

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that cannot be used: its name and place, the status that it would have had alone, and its fault."""

    file: str
    index: int
    status: int
    code: str
    detail: str


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
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "request_id": request_id or "",
        "errors": [asdict(file) for file in problem.files],
    }
    content = answers.encoded(body)
    return Response(content, problem.status, headers=problem.headers, media_type=MEDIA_TYPE)


def refusal(request: Request, problem: Problem) -> Response:
    """The response of a request that gets no answer, which is counted."""
    request.app.state.metrics.problem(problem.code)
    return render(request.state.request_id, problem)


def install(app: Starlette) -> None:
    """Make every refusal of ``app``, the framework's own too, a problem body."""

    def on_problem(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            phrase = HTTPStatus(error.status_code).phrase
            code = phrase.lower().replace(" ", "-")
            detail = error.detail if error.detail != phrase else f"{request.method} {request.url.path}: {phrase}"
            error = Problem(error.status_code, code, detail, headers=dict(error.headers or {}))
        assert isinstance(error, Problem)  # noqa: S101  (these two are all that are installed below)
        return refusal(request, error)

    for kind in (Problem, HTTPException):
        app.add_exception_handler(kind, on_problem)
