"""One effect per request: a form or API call carries a key, and a repeated key gets the first answer (I9)."""

import hashlib
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.core.exceptions import BadRequest
from django.db import OperationalError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from ninja import Schema
from ninja.operation import Operation
from ninja.responses import Status
from ninja.utils import contribute_operation_callback

from accounts.models import IdempotencyKey
from accounts.problems import FieldError, Problem

KEPT_FOR = timedelta(days=7)
FIELD = "request_key"
HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
LOCK_NOT_AVAILABLE = "55P03"


def new_request_key() -> str:
    """Return a key for a form that is about to be shown."""
    return str(uuid.uuid4())


def once(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Make a POST view have one effect per `request_key`: a second click gets the first one's redirect.

    The key is written in the transaction of the effect, so a second request waits for the first and a failed
    first one leaves nothing. A view that redirects did something; one that shows a page again did not, and its
    key stays free. The same key with other data is refused with 400.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        key = _key_of(request)
        body_hash = _hash(request)
        with transaction.atomic():
            row, created = IdempotencyKey.objects.get_or_create(
                key=key, defaults={"user_id": request.user.pk or 0, "request_hash": body_hash}
            )
            if not created:
                if row.request_hash != body_hash or row.user_id != (request.user.pk or 0):
                    raise BadRequest(
                        "This form was already sent with other values. Open the page again; nothing was changed."
                    )
                return HttpResponseRedirect(row.location)
            response = view(request, *args, **kwargs)
            location = response.headers.get("Location", "")
            if location:
                IdempotencyKey.objects.filter(pk=key).update(location=location)
            else:
                transaction.set_rollback(True)
        return response

    return wrapper


def idempotent(endpoint: Callable[..., Any]) -> Callable[..., HttpResponse]:
    """Make a POST endpoint of the API have one effect per `Idempotency-Key`, a UUID in the request's header.

    It stands between the router's decorator and the function, which returns a ninja Schema (answered with 200) or
    `Status(201, schema)`, and raises `Problem` or `ValidationError` for what it refuses:

        @router.post("/usage", auth=requires(Scope.USAGE_WRITE), response={201: UsageRecord})
        @idempotent
        def record_usage(request: HttpRequest, usage: NewUsage) -> Status:
            return Status(201, UsageRecord.from_orm(...))

    Everything the function writes is committed together with the key and its own answer. The same key with the same
    request (token, address, body, files) gets that answer again, byte by byte, with `Idempotency-Replayed: true`, and
    the function is not called. A function that raises leaves nothing, and its key stays free. Two requests at once
    wait for each other. Raises Problem 422 for a missing or malformed key, 409 for a key that was used for another
    request or whose first request is still at work after the lock timeout.
    """

    @wraps(endpoint)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        key, request_hash = _header_key(request), _request_hash(request)
        with transaction.atomic():
            row, created = _claim(key, request_hash)
            if not created:
                if row.request_hash != request_hash:
                    raise Problem(
                        409,
                        f"This {HEADER} was already used for another request. Nothing was changed; send a new UUID"
                        " with each new request and the same one only with its repetition.",
                    )
                return _json(row.status or 200, row.body, {REPLAYED: "true"})
            answer = endpoint(request, *args, **kwargs)
            status, content = (answer.status_code, answer.value) if isinstance(answer, Status) else (200, answer)
            if not isinstance(content, Schema) or status >= 400:
                raise TypeError("An idempotent endpoint returns a Schema; to refuse, it raises Problem.")
            body = content.model_dump_json()
            IdempotencyKey.objects.filter(pk=key).update(status=status, body=body)
        return _json(status, body)

    contribute_operation_callback(wrapper, _document_key)
    return wrapper


def _document_key(operation: Operation) -> None:
    """Name the header in the OpenAPI document."""
    parameter = {
        "in": "header",
        "name": HEADER,
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
        "description": "A new UUID for each request; repeat it with the repetition of a request that got no answer.",
    }
    extra = operation.openapi_extra or {}
    operation.openapi_extra = {**extra, "parameters": [*extra.get("parameters", ()), parameter]}


def _header_key(request: HttpRequest) -> uuid.UUID:
    text = request.headers.get(HEADER, "")
    try:
        key = uuid.UUID(text)
        if str(key) != text.lower():
            raise ValueError("A UUID has one way to be written, so that one key is not taken for two.")
        return key
    except ValueError as error:
        message = "Send a UUID such as 0b0e2a3c-5d1f-4c7e-9d53-3c1f6d1f2a10, new for each request."
        raise Problem(422, errors=[FieldError(HEADER, message)]) from error


def _claim(key: uuid.UUID, request_hash: str) -> tuple[IdempotencyKey, bool]:
    """Write the key, or wait for whoever is writing it and read what they left."""
    try:
        return IdempotencyKey.objects.get_or_create(key=key, defaults={"user_id": 0, "request_hash": request_hash})
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != LOCK_NOT_AVAILABLE:
            raise
        detail = "The first request with this key is still being worked on. Repeat this one in a few seconds."
        raise Problem(409, detail, headers={"Retry-After": "5"}) from error


def _request_hash(request: HttpRequest) -> str:
    """Return a hash of all that makes a request of the API what it is; a key of another token does not match."""
    digest = hashlib.sha256(repr((request.auth.token_id, request.get_full_path())).encode())  # type: ignore[attr-defined]
    if request.content_type != "multipart/form-data":
        digest.update(request.body)
        return digest.hexdigest()
    # The boundary between parts differs each time, so what stands in them is hashed.
    digest.update(repr(sorted((name, request.POST.getlist(name)) for name in request.POST)).encode())
    files = [(name, file) for name in sorted(request.FILES) for file in request.FILES.getlist(name)]
    for name, file in files:
        content = hashlib.sha256()
        for chunk in file.chunks():
            content.update(chunk)
        file.seek(0)
        digest.update(repr((name, file.name, content.hexdigest())).encode())
    return digest.hexdigest()


def _json(status: int, body: str, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(body, status=status, content_type="application/json; charset=utf-8", headers=headers)


def forget_old_requests() -> int:
    """Delete keys older than a week; return how many."""
    return IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEPT_FOR).delete()[0]


def _key_of(request: HttpRequest) -> uuid.UUID:
    try:
        return uuid.UUID(request.POST.get(FIELD, ""))
    except ValueError as error:
        raise BadRequest("The form lacks its request key. Open the page again; nothing was changed.") from error


def _hash(request: HttpRequest) -> str:
    values = sorted((name, request.POST.getlist(name)) for name in request.POST if name != "csrfmiddlewaretoken")
    return hashlib.sha256(repr((request.path, values)).encode()).hexdigest()
