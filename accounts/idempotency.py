"""One effect per request: a form or API call carries a key, and a repeated key gets the first answer (I9)."""

import hashlib
import uuid
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from accounts.models import IdempotencyKey

KEPT_FOR = timedelta(days=7)
FIELD = "request_key"


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
