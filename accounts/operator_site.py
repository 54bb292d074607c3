"""The operator site: Django's admin mounted at "/", with sidebar, command palette, status bar and every app's pages.

Apps plug in from their `admin.py`; this module knows none of them. Order of declaration does not matter.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import update_wrapper
from hashlib import sha256
from itertools import islice
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, URLResolver, path, reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.text import slugify
from django.views.decorators.cache import never_cache

View = Callable[..., HttpResponse]
Permission = str | Callable[[Any], bool] | None
Searcher = Callable[[str, Any], Iterable[tuple[str, str]]]

NAVIGATION_GROUPS = ("", "Billing", "Customers", "Catalogue", "Administration")
RESULTS_PER_GROUP = 8


@dataclass(frozen=True)
class NavigationEntry:
    """One line of the sidebar, shown to users who hold `permission`."""

    group: str
    label: str
    url_name: str
    icon: str
    permission: Permission = None
    badge: Callable[[Any], int] | None = None
    order: int = 100

    @property
    def badge_id(self) -> str:
        """Return the id of the element that shows the count of waiting work."""
        return f"badge-{slugify(self.label)}"


@dataclass(frozen=True)
class SitePage:
    """A page that an app contributes to the site."""

    route: str
    view: View
    name: str
    permission: Permission = None
    cacheable: bool = False


@dataclass(frozen=True)
class NavigationLink:
    """A sidebar line as drawn for one request."""

    label: str
    url: str
    icon: str
    is_current: bool
    badge_id: str


@dataclass
class NavigationGroup:
    """A heading of the sidebar and its lines, as drawn for one request."""

    label: str
    links: list[NavigationLink] = field(default_factory=list)


def is_allowed(user: Any, permission: Permission) -> bool:
    """Tell whether a user holds a permission: a codename, a predicate, or None for every operator."""
    if permission is None:
        return True
    return permission(user) if callable(permission) else user.has_perm(permission)


def is_fragment_request(request: HttpRequest) -> bool:
    """Tell whether htmx asks for a piece of a page rather than for the page."""
    return request.headers.get("HX-Request") == "true"


class LoginForm(AdminAuthenticationForm):
    """The login form; it does not say which of the two was wrong, nor whether the user exists."""

    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": "User name and password do not belong to an operator. Upper and lower case matter.",
    }


class OperatorSite(AdminSite):
    """An admin site whose index, extra pages, sidebar, searches and alarms come from the apps."""

    site_title = site_header = "Tallyrun"
    index_title = "Dashboard"
    site_url = None
    empty_value_display = "–"
    login_form = LoginForm
    enable_nav_sidebar = False
    # The site owns "/", so a catch-all would hide whatever is mounted beside it.
    final_catch_all_view = False

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")
        self._index_view: View | None = None
        self._pages: list[SitePage] = []
        self._entries: list[NavigationEntry] = []
        self._commands: list[NavigationEntry] = []
        self._searchers: list[tuple[str, Searcher, Permission]] = []
        self._alarms: list[Callable[[], str | None]] = []

    # What apps call ------------------------------------------------------------------------------------------------

    def register_index(self, view: View) -> View:
        """Make `view(request)` the start page; usable as a decorator."""
        self._index_view = view
        return view

    def register_page(
        self, route: str, view: View, name: str, *, permission: Permission = None, cacheable: bool = False
    ) -> None:
        """Serve `view` at "/<route>" as "admin:<name>" to operators who hold `permission`."""
        self._pages.append(SitePage(route, view, name, permission, cacheable))

    def add_navigation(
        self,
        group: str,
        label: str,
        url_name: str,
        icon: str,
        permission: Permission = None,
        badge: Callable[[Any], int] | None = None,
        *,
        order: int = 100,
    ) -> None:
        """Add a sidebar line; `badge(user)` returns a count of waiting work and is asked in the background."""
        if group not in NAVIGATION_GROUPS:
            raise ValueError(f"Unknown navigation group {group!r}; choose one of {NAVIGATION_GROUPS}.")
        self._entries.append(NavigationEntry(group, label, url_name, icon, permission, badge, order))

    def add_command(self, label: str, url_name: str, permission: Permission = None) -> None:
        """Offer a page such as "New bill run" in the command palette without a sidebar line."""
        self._commands.append(NavigationEntry("", label, url_name, "", permission))

    def add_search(self, label: str, searcher: Searcher, permission: Permission = None) -> None:
        """Add a group to the command palette; `searcher(query, user)` yields (text, url), best first."""
        self._searchers.append((label, searcher, permission))

    def register_status(self, alarm: Callable[[], str | None]) -> None:
        """Show `alarm()` in a red bar on every page while it returns a sentence."""
        self._alarms.append(alarm)

    # What templates and views call ---------------------------------------------------------------------------------

    def navigation(self, request: HttpRequest) -> list[NavigationGroup]:
        """Return the sidebar of this user, with the line of the current page marked by longest prefix."""
        allowed = [entry for entry in self._sorted_entries() if is_allowed(request.user, entry.permission)]
        urls = {entry: self._url(entry.url_name) for entry in allowed}
        home = self._url("admin:index")
        matching = [u for u in urls.values() if u == request.path or (u != home and request.path.startswith(u))]
        current = max(matching, key=len, default=None)
        groups = {name: NavigationGroup(name) for name in NAVIGATION_GROUPS}
        for entry, url in urls.items():
            link = NavigationLink(entry.label, url, entry.icon, url == current, entry.badge_id if entry.badge else "")
            groups[entry.group].links.append(link)
        return [group for group in groups.values() if group.links]

    def render(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        """Render a page of the site; `title` in the context becomes the page title."""
        request.current_app = self.name
        return TemplateResponse(request, template, {**self.each_context(request), **context})

    def render_dialog(self, request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
        """Render a dialog's content: the bare fragment for htmx, else a page of its own around it."""
        if is_fragment_request(request):
            return self.render(request, template, context)
        return self.render(request, "components/dialog_page.html", {**context, "dialog_template": template})

    # Django's side -------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Return the pages of the apps, then the site's own, then Django's."""
        own = [path(page.route, self._page_view(page), name=page.name) for page in self._pages]
        own += [
            path("palette/", self._site_view(self.palette_view), name="palette"),
            path("status/", self._site_view(self.status_view), name="status"),
            path("records/", self._site_view(self.records_view), name="records"),
        ]
        return [*own, *super().get_urls()]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what Django's templates expect, without the model list that only the records page needs."""
        return {
            "site_title": self.site_title,
            "site_header": self.site_header,
            "site_url": self.site_url,
            "has_permission": self.has_permission(request),
            "is_popup": False,
            "is_nav_sidebar_enabled": False,
        }

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the registered start page, or the list of records until there is one."""
        request.current_app = self.name
        return self._index_view(request) if self._index_view else self.records_view(request)

    @method_decorator([never_cache, login_not_required])
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the login form; nobody is sent on to a piece of a page that was being fetched as the session expired."""
        fragments = (reverse("admin:status"), reverse("admin:palette"))
        if request.method == "GET" and request.GET.get(REDIRECT_FIELD_NAME, "").startswith(fragments):
            return HttpResponseRedirect(reverse("admin:login"))
        return super().login(request, extra_context)

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Log out and return to the login form."""
        response = super().logout(request, extra_context)
        return HttpResponseRedirect(reverse("admin:login")) if response.status_code == 200 else response

    def records_view(self, request: HttpRequest) -> HttpResponse:
        """List every kind of record the user may see, by app."""
        return self.render(
            request, "admin/app_index.html", {"title": "All records", "app_list": self.get_app_list(request)}
        )

    def palette_view(self, request: HttpRequest) -> HttpResponse:
        """Answer the command palette: pages and records that match `?q=`, at most eight of a kind."""
        query = request.GET.get("q", "").strip()[:100]
        groups = [("Pages", list(islice(self._matching_pages(request.user, query), RESULTS_PER_GROUP)))]
        if query:
            groups += [
                (label, list(islice(searcher(query, request.user), RESULTS_PER_GROUP)))
                for label, searcher, permission in self._searchers
                if is_allowed(request.user, permission)
            ]
        found = [(label, results) for label, results in groups if results]
        context = {"query": query, "groups": found, "title": "Search", "count": sum(len(r) for _, r in found)}
        fragment = is_fragment_request(request)
        return self.render(request, f"components/{'palette_results' if fragment else 'palette_page'}.html", context)

    def status_view(self, request: HttpRequest) -> HttpResponse:
        """Answer the status bar's polling: alarms and the sidebar's counts; 204 when nothing changed."""
        alarms = [text for text in (alarm() for alarm in self._alarms) if text]
        badges = [
            (entry.badge_id, entry.badge(request.user))
            for entry in self._sorted_entries()
            if entry.badge and is_allowed(request.user, entry.permission)
        ]
        seen = sha256(repr((alarms, badges)).encode()).hexdigest()[:12]
        if request.GET.get("seen") == seen:
            return HttpResponse(status=204)
        return self.render(request, "components/status.html", {"alarms": alarms, "badges": badges, "seen": seen})

    # Inside --------------------------------------------------------------------------------------------------------

    def _sorted_entries(self) -> list[NavigationEntry]:
        return sorted(self._entries, key=lambda entry: (NAVIGATION_GROUPS.index(entry.group), entry.order))

    def _matching_pages(self, user: Any, query: str) -> Iterable[tuple[str, str]]:
        needle = query.lower()
        for entry in [*self._commands, *self._sorted_entries()]:
            if needle in entry.label.lower() and is_allowed(user, entry.permission):
                yield entry.label, self._url(entry.url_name)

    def _url(self, url_name: str) -> str:
        try:
            return reverse(url_name, current_app=self.name)
        except NoReverseMatch:
            return reverse(f"admin:{url_name}", current_app=self.name)

    def _page_view(self, page: SitePage) -> View:
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not is_allowed(request.user, page.permission):
                needed = f" It needs the permission “{page.permission}”." if isinstance(page.permission, str) else ""
                raise PermissionDenied(f"Your role does not include this page.{needed}")
            request.current_app = self.name
            return page.view(request, *args, **kwargs)

        return self._site_view(update_wrapper(guarded, page.view), cacheable=page.cacheable)

    def _site_view(self, view: View, *, cacheable: bool = False) -> View:
        wrapped = self.admin_view(view, cacheable)
        # LoginRequiredMiddleware sends people to this address.
        wrapped.login_url = reverse_lazy("admin:login", current_app=self.name)  # type: ignore[attr-defined]
        return wrapped
