"""The ground all endpoints of the REST API stand on: tokens with scopes, the request limit, problems, and the schema."""

import math
import re
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver
from django.utils import timezone
from ninja import NinjaAPI, Schema
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser
from ninja.security import HttpBearer
from pydantic import AfterValidator, BeforeValidator, PlainSerializer, StringConstraints, WithJsonSchema

from accounts.api_tokens import Caller, Scope, caller_of
from accounts.problems import DETAILS, MEDIA_TYPE, FieldError, Problem, problem_of, problem_response

NUMBER_LENGTH = 60

# Money, prices and quantities: text, because JSON's numbers are binary fractions to most programs that read them.
Amount = Annotated[
    Decimal,
    PlainSerializer(lambda value: f"{value:f}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "examples": ["1234.50"]}),
]


def _exact(value: Any) -> Decimal:
    """Return the number that a text writes. Raises ValueError for anything else, also for a JSON number."""
    if not isinstance(value, str) or not re.fullmatch(WRITTEN, value):
        raise ValueError(
            'Write the number as text, such as "12.5", with at most 12 digits before the point and 9 after it'
        )
    return Decimal(value)


def _not_negative(value: Decimal) -> Decimal:
    if value.is_signed():
        raise ValueError("Write a number that is not negative")
    return value


# What requests bring: the same text, exactly as written; `SentQuantity` without a sign.
WRITTEN = r"-?[0-9]{1,12}(\.[0-9]{1,9})?"
SentAmount = Annotated[
    Decimal,
    BeforeValidator(_exact),
    WithJsonSchema({"type": "string", "pattern": f"^{WRITTEN}$", "examples": ["-3.5"]}),
]
SentQuantity = Annotated[
    Decimal,
    AfterValidator(_not_negative),
    BeforeValidator(_exact),
    WithJsonSchema({"type": "string", "pattern": f"^{WRITTEN.removeprefix('-?')}$", "examples": ["12.5"]}),
]
# One line of text; PostgreSQL cannot store a NUL, and line breaks have no place in names and numbers.
LINE = r"^[^\x00-\x1f\x7f]+$"
# The number of an account, subscription, invoice or bill run, as printed.
Number = Annotated[str, StringConstraints(min_length=1, max_length=NUMBER_LENGTH, pattern=LINE)]


class ProblemField(Schema):
    """What is wrong with one field."""

    field: str
    message: str


class ProblemBody(Schema):
    """An RFC 9457 problem: what is wrong, what was not changed and what to do next."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemField] = []


class BearerToken(HttpBearer):
    """Lets a request through whose token is valid, within its limit, and has the scope that the endpoint needs."""

    openapi_description = "An API token, issued by an administrator on the page “API tokens”."

    def __init__(self, scope: Scope | None = None) -> None:
        super().__init__()
        self.scope = scope
        # The names that the address of the endpoint knows after its “?”; None where nobody looks at them.
        self.parameters: frozenset[str] | None = None

    def __call__(self, request: HttpRequest) -> Caller:
        scheme, _, secret = request.headers.get(self.header, "").partition(" ")
        if scheme.lower() != self.openapi_scheme:
            raise Problem(401)
        caller = self.authenticate(request, secret.strip())
        unknown = sorted(request.GET.keys() - self.parameters) if self.parameters is not None else []
        if unknown:
            # A misspelt filter must not be taken for none: the answer would be about everybody.
            known = ", ".join(sorted(self.parameters or ())) or "none"
            raise Problem(
                422, errors=[FieldError(name, f"Not a parameter here; there are: {known}.") for name in unknown]
            )
        return caller

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        """Return who makes the request; counted even when it is refused. Raises Problem 401, 403 or 429."""
        caller = caller_of(token)
        if caller is None:
            # Unknown, expired or revoked: whoever holds a wrong token learns nothing from the difference.
            raise Problem(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        structlog.contextvars.bind_contextvars(api_token_id=caller.token_id)
        if caller.requests > settings.API_REQUESTS_PER_MINUTE:
            seconds = max(1, math.ceil((caller.minute_ends - timezone.now()).total_seconds()))
            raise Problem(429, headers={"Retry-After": str(seconds)})
        if self.scope is not None and self.scope not in caller.scopes:
            raise Problem(
                403,
                f"The token “{caller.name}” lacks the scope {self.scope.value}. Nothing was changed; use a token that has it.",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{self.scope.value}"'},
            )
        return caller


def requires(scope: Scope) -> BearerToken:
    """Return what an endpoint is declared with: `@router.get("/accounts", auth=requires(Scope.ACCOUNTS_READ))`."""
    return BearerToken(scope)


class JsonParser(Parser):
    """Reads a body only when it says that it is JSON."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the body's values. Raises Problem 415 for another media type and ValueError for broken JSON."""
        if request.content_type != "application/json":
            raise Problem(415)
        found = super().parse_body(request)
        if not isinstance(found, dict):
            # Nothing, zero or false would otherwise pass for an object without any values.
            raise Problem(422, errors=[FieldError("body", "Send a JSON object.")])
        return found


class ApiSchema(OpenAPISchema):
    """An OpenAPI document in which every operation names its scope and every problem it may answer with."""

    def operation_details(self, operation: Operation) -> dict[str, Any]:
        """Add scope and problems, which no endpoint has to repeat, to what it declares itself."""
        details = super().operation_details(operation)
        details["security"] = [
            {type(auth).__name__: [auth.scope.value] if auth.scope else []}
            for auth in operation.auth_callbacks
            if isinstance(auth, BearerToken)
        ]
        writes_only = set() if {*operation.methods} - {"GET"} else {409, 413, 415}
        for status in sorted(DETAILS.keys() - writes_only - details["responses"].keys()):
            details["responses"][status] = {"$ref": f"#/components/responses/Problem{status}"}
        for parameter in details["parameters"]:
            parameter["schema"] = _without_null(parameter["schema"])
        return details

    def get_components(self) -> dict[str, Any]:
        """Add the problems to the models and the kinds of sign-in."""
        components: dict[str, Any] = super().get_components()
        body = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
        components["schemas"] |= body.pop("$defs") | {"ProblemBody": body}
        components["responses"] = {f"Problem{status}": _documented(status) for status in DETAILS}
        return components


def _query_names(operation: Operation) -> frozenset[str]:
    models = [model for model in operation.models if model.__ninja_param_source__ == "query"]
    return frozenset(name for model in models for name in model.__ninja_flatten_map__)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that may be left out: an address has no way to write null."""
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    return {**choices[0], **{key: value for key, value in schema.items() if key != "anyOf"}}


def _documented(status: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
    documented: dict[str, Any] = {"description": HTTPStatus(status).phrase, "content": content}
    header = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After"}.get(status)
    if header:
        documented["headers"] = {header: {"schema": {"type": "string"}, "required": True}}
    return documented


class Api(NinjaAPI):
    """A REST API whose every error is a problem and whose addresses are open to whoever brings a token."""

    def __init__(self, **options: Any) -> None:
        super().__init__(openapi_url=None, docs_url=None, parser=JsonParser(), **options)

    def set_default_exception_handlers(self) -> None:
        """Answer whatever an endpoint raises with a problem; faults of ours go on to Django, which logs them."""
        self.add_exception_handler(Exception, _answer)

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        """Return the addresses, freed from the login page: a program without token is refused, not sent to a form."""
        patterns, app_name, namespace = super().urls
        for pattern in patterns:
            pattern.callback.login_required = False  # type: ignore[union-attr]
        for operation in self.operations():
            for auth in operation.auth_callbacks:
                if isinstance(auth, BearerToken):
                    auth.parameters = _query_names(operation)
        return patterns, app_name, namespace

    def operations(self) -> list[Operation]:
        """Return every endpoint."""
        views = [view for router in self._get_bound_routers() for view in router.path_operations.values()]
        return [operation for view in views for operation in view.operations]

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        """Return the OpenAPI 3.1 document."""
        return ApiSchema(self, self.get_root_path(path_params or {}) if path_prefix is None else path_prefix)


def _answer(_request: HttpRequest, error: Any) -> HttpResponse:
    return problem_response(problem_of(error))
