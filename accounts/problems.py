"""What the API says when it cannot do what was asked: RFC 9457 problems, from the API itself and from Django around it."""

import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from django.core.exceptions import (
    NON_FIELD_ERRORS,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import errors as ninja_errors

from accounts.refusals import REFUSALS, explain_refusal

API_PATH = "/api/v1/"
MEDIA_TYPE = "application/problem+json"
NOTHING_CHANGED = "Nothing was changed."

# What there is to say about a status when nobody on the spot knew better.
DETAILS = {
    400: "The request could not be read. Check that the body is JSON and the address is complete. " + NOTHING_CHANGED,
    401: "The request carries no valid token. Send “Authorization: Bearer” and a token that is neither expired nor"
    " revoked; an administrator issues one on the page “API tokens”. " + NOTHING_CHANGED,
    403: "The request is not allowed. " + NOTHING_CHANGED,
    404: "There is nothing at this address. The addresses are listed at /api/v1/docs. " + NOTHING_CHANGED,
    405: "This address does not take this method. The header “Allow” names those it takes. " + NOTHING_CHANGED,
    409: "The request conflicts with what was stored before. " + NOTHING_CHANGED,
    413: "The request is too large. Send it in several smaller ones. " + NOTHING_CHANGED,
    415: "The body has a media type that this address does not take. Send “Content-Type: application/json”. "
    + NOTHING_CHANGED,
    422: "Some fields cannot be used as they are; “errors” names each of them. " + NOTHING_CHANGED,
    429: "This token has made too many requests. Wait as long as “Retry-After” says and repeat the request. "
    + NOTHING_CHANGED,
    500: "The server failed; its log says why. Repeat the request with the same Idempotency-Key: it has one effect"
    " however often it is sent. Unless you read otherwise, nothing was changed.",
}
# What pydantic finds most often, in the words of somebody who fills in a form.
MESSAGES = {
    "missing": "This field is required",
    "int_parsing": "Write a whole number",
    "decimal_parsing": "Write a number, with a point before the decimals",
    "date_from_datetime_parsing": "Write a date as 2026-01-31",
    "string_pattern_mismatch": "The text does not have the form {pattern}",
}
BODY_HEADERS = {"Content-Type", "Content-Length"}


class FieldError(NamedTuple):
    """What is wrong with one field; `field` is its path, such as `records[3].quantity`."""

    field: str
    message: str


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """Raise it to answer with this status: `detail` says what is wrong, what was not changed and what to do next."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail)
        self.status, self.detail = status, detail or DETAILS.get(status, NOTHING_CHANGED)
        self.errors, self.headers = tuple(errors), dict(headers or {})


def problem_response(problem: Problem) -> JsonResponse:
    """Return the answer to a request that met a problem."""
    phrase = HTTPStatus(problem.status).phrase
    content: dict[str, Any] = {
        "type": "urn:tallyrun:problem:" + re.sub(r"[^a-z]+", "-", phrase.lower()),
        "title": phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        content["errors"] = [error._asdict() for error in problem.errors]
    headers = {"Cache-Control": "no-store", **problem.headers}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return JsonResponse(
        content,
        status=problem.status,
        content_type=MEDIA_TYPE,
        headers=headers,
        json_dumps_params={"ensure_ascii": False},
    )


def problem_of(error: Exception) -> Problem:
    """Return the problem that an exception means to the caller. Raises the exception again when it is a fault of ours."""
    cause = error.__cause__
    if isinstance(error, Problem):
        return error
    if isinstance(error, ninja_errors.ValidationError):
        return Problem(422, errors=[_field_error(found) for found in error.errors])
    if isinstance(error, ninja_errors.HttpError):
        # What the parser of the body found comes wrapped in a plain 400.
        return cause if isinstance(cause, Problem) else Problem(error.status_code)
    if isinstance(error, ValidationError):
        return Problem(422, errors=_service_errors(error))
    if isinstance(error, Http404):
        return Problem(404)
    if isinstance(error, PermissionDenied):
        return Problem(403, str(error))
    if isinstance(error, RequestDataTooBig):
        return Problem(413)
    if isinstance(error, SuspiciousOperation):
        return Problem(400)
    if isinstance(error, REFUSALS) and isinstance(error, DatabaseError):
        return Problem(409, explain_refusal(error))
    raise error


def _field_error(found: Mapping[str, Any]) -> FieldError:
    """Return what pydantic found, by the name the caller knows the field by."""
    source, *path = found["loc"]
    # The first name after "body" is the argument of our own function.
    names = path[1:] if source == "body" else path
    field = "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in names).lstrip(".")
    known = MESSAGES.get(found["type"])
    message = known.format(**found.get("ctx", {})) if known else str(found["msg"]).removeprefix("Value error, ")
    message = message.rstrip(".")
    return FieldError(field or source, f"{message[:1].upper()}{message[1:]}.")


def _service_errors(error: ValidationError) -> list[FieldError]:
    by_field = error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
    return [
        FieldError("" if field == NON_FIELD_ERRORS else field, message)
        for field, messages in by_field.items()
        for message in messages
    ]


class ProblemMiddleware:
    """Turn every error under the API's path into a problem, also those that Django answers before the API is asked."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not request.path_info.startswith(API_PATH) or response.status_code < 400:
            return response
        if response.headers.get("Content-Type") == MEDIA_TYPE:
            return response
        headers = {name: value for name, value in response.headers.items() if name not in BODY_HEADERS}
        return problem_response(Problem(response.status_code, headers=headers))
