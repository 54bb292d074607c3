"""What administrators do with API tokens: issue one, which is shown once, and revoke one."""

from datetime import datetime, time
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from accounts.api_tokens import ApiToken, Scope
from accounts.clock import business_today, business_zone
from accounts.idempotency import FIELD, new_request_key, once
from accounts.operator_admin import DayInput, site
from accounts.services import IssuedToken, issue_token, revoke_token


class NewTokenForm(forms.ModelForm):
    """Name, scopes and last day of a new token."""

    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, f"{scope.label} ({scope.value})") for scope in Scope],
        widget=forms.CheckboxSelectMultiple,
        help_text="What the program may do with it. Give it no more than it needs.",
        error_messages={"required": "Choose at least one scope."},
    )
    last_day = forms.DateField(
        required=False, widget=DayInput, help_text="The last day on which it is valid. Empty: until it is revoked."
    )

    class Meta:
        model = ApiToken
        fields = ["name"]

    def clean_last_day(self) -> datetime | None:
        """Return the end of the last day in the tenant's zone. Raises ValidationError for a day that is over."""
        day = self.cleaned_data["last_day"]
        if day is None:
            return None
        if day < business_today():
            raise ValidationError("This day is over. Choose today or a later day.")
        return datetime.combine(day, time.max, tzinfo=business_zone())


@sensitive_variables("issued")
@never_cache
@require_http_methods(["GET", "POST"])
def new_token(request: HttpRequest) -> HttpResponse:
    """Show the form of a new token, or issue one and show it, this once.

    The answer that issued a token is the page with the token; its repetition leads to the token's page, which no
    longer knows it.
    """
    issued: list[IssuedToken] = []
    response = _issue(request, issued)
    if not issued:
        return response
    context = {"title": f"Token {issued[0].token.name}", "token": issued[0].token, "secret": issued[0].secret}
    return site.render(request, "accounts/token_issued.html", context)


@once
def _issue(request: HttpRequest, issued: list[IssuedToken]) -> HttpResponse:
    """Issue a token, add it to `issued` and lead to its page; or show the form."""
    form = NewTokenForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        made = issue_token(
            name=form.cleaned_data["name"],
            scopes=form.cleaned_data["scopes"],
            expires_at=form.cleaned_data["last_day"],
            user_id=request.user.pk,
        )
        issued.append(made)
        _admin().log_addition(request, made.token, [{"added": {}}])
        return HttpResponseRedirect(made.token.get_absolute_url())
    context = {"title": "New API token", "form": form, "request_key": new_request_key()}
    response = site.render(request, "accounts/new_token.html", context)
    response.status_code = 422 if form.errors else 200
    return response


@require_http_methods(["GET", "POST"])
@once
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask before revoking a token; from then on the API refuses it."""
    token = get_object_or_404(ApiToken, pk=pk)
    if request.method != "POST":
        context = {
            "title": f"Revoke {token.name}",
            "heading": f"Revoke {token.name}?",
            "text": "The program that uses it is refused from its next request on. A revoked token cannot be revived.",
            "facts": [("Token", f"{token.prefix}…"), ("Scopes", ", ".join(token.scopes))],
            "action": request.path,
            "verb": "Revoke this token",
            "keep": "Keep the token",
            "back_url": token.get_absolute_url(),
            "danger": True,
            "hidden": [(FIELD, new_request_key())],
        }
        return site.render_dialog(request, "components/confirm.html", context)
    if revoke_token(token):
        _admin().log_change(request, token, "Revoked.")
        messages.success(request, f"{token.name} is revoked. The API refuses it from now on.")
    else:
        messages.info(request, f"{token.name} was revoked before. Nothing was changed.")
    return HttpResponseRedirect(token.get_absolute_url())


def _admin() -> Any:
    return site.get_model_admin(ApiToken)
