"""The operator site and the admin base class: lists, object pages and data fixes of every model in the product."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin, ShowFacets
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connections, models, router
from django.forms import Media
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.text import capfirst

from accounts.clock import business_today
from accounts.csv_export import csv_response
from accounts.data_fixes import REASON_FIELD, DataFixForm, GuardedForm, change_values
from accounts.list_filters import Chip, FilterLink
from accounts.operator_list import OperatorChangeList
from accounts.operator_site import OperatorSite
from accounts.paging import CappedPaginator
from accounts.refusals import REFUSALS, explain_refusal

site = OperatorSite(name="admin")

ADMIN_SCRIPTS = ("vendor/jquery/jquery.min.js", "jquery.init.js", "core.js", "admin/RelatedObjectLookups.js")
PREPOPULATE_SCRIPTS = ("vendor/xregexp/xregexp.min.js", "urlify.js", "prepopulate.js")
# A record is only deleted by hand when few others go with it; the first few that forbid it are named.
DEPENDENT = (models.CASCADE, models.PROTECT, models.RESTRICT)
CASCADE_LIMIT = 500
BLOCKERS_NAMED = 5
MOMENT_FORMAT = "%Y-%m-%dT%H:%M:%S"


class DayInput(forms.DateInput):
    """The browser's own date picker: accessible, localised, no script."""

    input_type = "date"

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(attrs, format="%Y-%m-%d")


class MomentInput(forms.DateTimeInput):
    """The browser's own picker for a date and a time of day."""

    input_type = "datetime-local"

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"step": "1", **(attrs or {})}, format=MOMENT_FORMAT)


class OperatorAdmin(ModelAdmin):
    """An admin with a fast list, an optional object page, CSV, and forms that explain what the database refuses."""

    # What the records are called, where the model's own names say it badly
    noun = ""
    nouns = ""
    # The list
    tabs: Sequence[tuple[str, Mapping[str, Any]]] = ()
    chip_filters: Sequence[str | Chip] = ()
    search_placeholder = ""
    export_fields: Sequence[str | tuple[str, str]] = ()
    money_fields: Sequence[str] = ()
    currency_path = "currency"
    add_label = ""
    add_url_name = ""
    empty_text = ""
    empty_action: tuple[str, str, str] | None = None
    # The object
    object_page = False
    object_template = ""
    object_tabs: Sequence[tuple[str, str]] = ()
    # The form: configuration (data_fix = False) is edited here by right; everything else is repaired here, with a reason.
    data_fix = True

    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    paginator = CappedPaginator
    view_on_site = False
    formfield_overrides = {
        models.DateField: {"widget": DayInput},
        models.DateTimeField: {"form_class": forms.DateTimeField, "widget": MomentInput},
    }

    def __init__(self, model: type[models.Model], admin_site: Any) -> None:
        super().__init__(model, admin_site)
        self.noun = self.noun or str(self.opts.verbose_name)
        self.nouns = self.nouns or str(self.opts.verbose_name_plural)

    # What subclasses override --------------------------------------------------------------------------------------

    def is_locked(self, obj: Any) -> bool:
        """Tell whether a record is final; locked records have neither form nor delete button."""
        return False

    def locked_text(self, obj: Any) -> str:
        """Return the sentence that says why a record is locked and what to do instead."""
        return f"This {self.noun} is final and cannot be changed."

    def object_context(self, request: HttpRequest, obj: Any, tab: str) -> dict[str, Any]:
        """Return what the object page's template needs for one tab."""
        return {}

    def list_links(self, request: HttpRequest) -> list[tuple[str, str]]:
        """Return further buttons (label, address) beside "Export CSV"."""
        return []

    # Addresses -----------------------------------------------------------------------------------------------------

    def url_to(self, page: str, *args: Any) -> str:
        """Return the address of one of this model's pages: changelist, add, change, object, history, delete, export."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(name, args=args, current_app=self.admin_site.name)

    def object_url(self, pk: Any) -> str:
        """Return the address of a record's own page."""
        return self.url_to("object" if self.object_page else "change", quote(pk))

    def get_urls(self) -> list[URLPattern]:
        """Return Django's addresses plus the export, the object page and its tabs."""
        wrap = self.admin_site.admin_view
        stem = f"{self.opts.app_label}_{self.opts.model_name}"
        stock = super().get_urls()[:-1]
        return [
            path("export/", wrap(self.export_view), name=f"{stem}_export"),
            *stock,
            *(
                [path("<path:object_id>/<slug:tab>/", wrap(self.object_view), name=f"{stem}_tab")]
                if self.object_tabs
                else []
            ),
            path("<path:object_id>/", wrap(self.object_view), name=f"{stem}_object"),
        ]

    # The list ------------------------------------------------------------------------------------------------------

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list class."""
        return OperatorChangeList

    @property
    def chips(self) -> list[Chip]:
        """Return the chips; a bare field name stands for a chip of that field's choices."""
        return [Chip(item) if isinstance(item, str) else item for item in self.chip_filters]

    def get_list_select_related(self, request: HttpRequest) -> list[str]:
        """Join exactly the relations that the columns show; Django's own guess joins every one there is."""
        if self.list_select_related:
            return list(self.list_select_related)  # type: ignore[arg-type]
        shown = {f.name for f in self.opts.fields if isinstance(f, models.ForeignKey)} & {
            name for name in self.get_list_display(request) if isinstance(name, str)
        }
        money = {self.currency_path.rpartition("__")[0]} if self.money_fields else set()
        return sorted((shown | money) - {""})

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Allow the lookups that tabs and chips use, besides Django's own."""
        declared = {key for _, lookups in self.tabs for key in lookups} | {
            k for chip in self.chips for k in chip.lookups
        }
        return lookup in declared or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list, with the buttons this user may press."""
        add_url = reverse(self.add_url_name) if self.add_url_name else self.url_to("add")
        context = {
            "add_url": add_url if self.has_add_permission(request) else "",
            "add_label": self.add_label or f"New {self.noun}",
            "list_links": self.list_links(request),
            "search_placeholder": self.search_placeholder or f"Search {self.nouns}",
            "empty_action": self._empty_action(request, add_url),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def _empty_action(self, request: HttpRequest, add_url: str) -> tuple[str, str] | None:
        if self.empty_action:
            label, url_name, permission = self.empty_action
            return (label, reverse(url_name)) if request.user.has_perm(permission) else None
        return (self.add_label or f"New {self.noun}", add_url) if self.has_add_permission(request) else None

    def export_view(self, request: HttpRequest) -> Any:
        """Stream the list under its current filters as CSV."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        queryset = self.get_changelist_instance(request).queryset.select_related(None)
        stem = self.nouns.replace(" ", "-")
        return csv_response(queryset=queryset, columns=self._export_columns(), file_stem=stem, day=business_today())

    def _export_columns(self) -> list[tuple[str, str]]:
        fields = self.export_fields or [f.attname for f in self.opts.concrete_fields]
        columns = [(f.replace("__", "_"), f) if isinstance(f, str) else f for f in fields]
        has_currency = any(name.endswith("currency") for name, _ in columns)
        return columns if has_currency or not self.money_fields else [*columns, ("currency", self.currency_path)]

    # The object page -----------------------------------------------------------------------------------------------

    def object_view(self, request: HttpRequest, object_id: str, tab: str = "") -> Any:
        """Show a record's own page, or its form where the model has no page."""
        if not self.object_page:
            return HttpResponseRedirect(self.url_to("change", object_id))
        obj = self.get_object(request, unquote(object_id))
        if obj is None or tab not in {"", *(slug for slug, _ in self.object_tabs)}:
            raise Http404(f"There is no such {self.noun}.")
        if not self.has_view_or_change_permission(request, obj):
            raise PermissionDenied
        base = self.object_url(obj.pk)
        tabs = [FilterLink(label, f"{base}{slug}/" if slug else base, slug == tab) for slug, label in self.object_tabs]
        context = {
            "title": str(obj),
            "object": obj,
            "opts": self.opts,
            "model_admin": self,
            "list_url": self.url_to("changelist"),
            "object_tabs": tabs,
            "tab": tab,
            "menu": self.object_menu(request, obj),
            **self.object_context(request, obj, tab),
        }
        templates = [self.object_template] if self.object_template else []
        templates += [f"{self.opts.app_label}/{self.opts.model_name}.html", "components/object_page.html"]
        return self.admin_site.render(request, templates, context)  # type: ignore[attr-defined]

    def object_menu(self, request: HttpRequest, obj: Any) -> list[tuple[str, str]]:
        """Return the "More" menu of the object page: (label, address), only what this user may do."""
        menu = []
        if self.has_change_permission(request, obj):
            menu.append(("Edit record", self.url_to("change", quote(obj.pk))))
        menu.append(("Record history", self.url_to("history", quote(obj.pk))))
        if self.has_delete_permission(request, obj):
            menu.append(("Delete record", self.url_to("delete", quote(obj.pk))))
        return menu

    # Permissions ---------------------------------------------------------------------------------------------------

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse changes to locked records whatever the role."""
        return super().has_change_permission(request, obj) and not (obj is not None and self.is_locked(obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse deletion of locked records whatever the role."""
        return super().has_delete_permission(request, obj) and not (obj is not None and self.is_locked(obj))

    # The form ------------------------------------------------------------------------------------------------------

    @property
    def media(self) -> Media:
        """Return the scripts Django's widgets need; the slug helpers only where something is prepopulated."""
        scripts = [*ADMIN_SCRIPTS, *(PREPOPULATE_SCRIPTS if self.prepopulated_fields else ())]
        return Media(js=[*(f"admin/js/{script}" for script in scripts), "ui/forms.js"])

    def get_autocomplete_fields(self, request: HttpRequest) -> list[str]:
        """Use autocomplete for every relation whose records can be searched: a plain select would load them all."""
        chosen = {*self.raw_id_fields, *self.radio_fields, *self.filter_horizontal, *self.filter_vertical}
        relations = [f for f in (*self.opts.fields, *self.opts.many_to_many) if f.is_relation and f.name not in chosen]
        related = {f.name: self.admin_site._registry.get(f.related_model) for f in relations}  # type: ignore[arg-type]
        found = [name for name, admin in related.items() if admin is not None and admin.search_fields]
        return [*self.autocomplete_fields, *(name for name in found if name not in self.autocomplete_fields)]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer "add" and "view" beside a relation, but neither editing nor deleting the other record."""
        formfield = super().formfield_for_dbfield(db_field, request, **kwargs)
        widget: Any = getattr(formfield, "widget", None)
        if hasattr(widget, "can_delete_related"):
            widget.can_delete_related = widget.can_change_related = False
        return formfield

    def needs_reason(self, request: HttpRequest, obj: Any) -> bool:
        """Tell whether this form is a data fix, which is logged with a reason."""
        return self.data_fix and obj is not None and self.has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Return the model's fields; reason and state of a data fix stand by the buttons instead."""
        return [name for name in super().get_fields(request, obj) if name not in DataFixForm.own_fields]

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[forms.ModelForm]:
        """Return the form, able to show the database's refusal and asking for a reason on data fixes."""
        mixin = DataFixForm if self.needs_reason(request, obj) else GuardedForm
        # Users have a form of their own for adding.
        plain = kwargs.pop("form", None) or ((getattr(self, "add_form", None) if obj is None else None) or self.form)
        refusal = getattr(request, "guard_refusal", "")
        metaclass: Any = type(plain)
        form = metaclass("OperatorForm", (mixin, plain), {"guard_refusal": refusal, "__module__": plain.__module__})
        return super().get_form(request, obj, change=change, form=form, **kwargs)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show or save the form; what a database guard refuses comes back as an error on the form."""
        obj = self.get_object(request, unquote(object_id)) if object_id else None
        context = {
            "model_admin": self,
            "is_data_fix": self.needs_reason(request, obj),
            "locked_text": self.locked_text(obj) if obj is not None and self.is_locked(obj) else "",
            "object_url": self.object_url(obj.pk) if obj is not None and self.object_page else "",
            **(extra_context or {}),
        }
        try:
            return super().changeform_view(request, object_id, form_url, context)
        except REFUSALS as error:
            if request.method != "POST":
                raise
            request.guard_refusal = explain_refusal(error)  # type: ignore[attr-defined]
            return super().changeform_view(request, object_id, form_url, context)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save the inlines, then let deferred guards speak now instead of at commit, after "was saved" was said."""
        super().save_related(request, form, formsets, change)
        connections[router.db_for_write(self.model)].check_constraints()

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> list[Any]:
        """Return the log message: changed fields, and for data fixes the reason and the values before and after."""
        reason = form.cleaned_data.get(REASON_FIELD, "")
        form.changed_data = [name for name in form.changed_data if name not in DataFixForm.own_fields]
        message = list(super().construct_change_message(request, form, formsets, add))
        return [*message, {"reason": reason, "values": change_values(form)}] if reason else message

    def response_post_save_change(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        """Return to the object page after saving, or to the list where there is none."""
        if self.object_page:
            return HttpResponseRedirect(self.object_url(obj.pk))
        return super().response_post_save_change(request, obj)

    # Deleting ------------------------------------------------------------------------------------------------------

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Ask for confirmation and a reason; say what the database refuses and return to the record."""
        context = {"model_admin": self, **(extra_context or {})}
        if request.method == "POST" and not request.POST.get("reason", "").strip():
            messages.error(request, "Write down why this record is deleted. Nothing was deleted.")
            return HttpResponseRedirect(request.get_full_path())
        try:
            return super().delete_view(request, object_id, context)
        except DatabaseError as error:
            if request.method != "POST" or not isinstance(error, REFUSALS):
                raise
            messages.error(request, f"The {self.noun} was not deleted. {explain_refusal(error)}")
            return HttpResponseRedirect(self.object_url(unquote(object_id)))

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Name what would go too, or what forbids it; a bill run with a million invoices is not loaded to say so."""
        blocking = []
        for relation in self.opts.related_objects:
            refuses = relation.on_delete is not models.CASCADE
            limit = BLOCKERS_NAMED if refuses else CASCADE_LIMIT
            dependents = relation.related_model._base_manager.filter(**{f"{relation.field.name}__in": objs})
            first = list(dependents[: limit + 1]) if relation.on_delete in DEPENDENT else []
            if first and (refuses or len(first) > limit):
                name = capfirst(str(relation.related_model._meta.verbose_name))
                blocking += [f"{name}: {dependent}" for dependent in first[:BLOCKERS_NAMED]]
                blocking += [f"… and further {relation.related_model._meta.verbose_name_plural}"] * (
                    len(first) > BLOCKERS_NAMED
                )
        return ([], {}, set(), blocking) if blocking else super().get_deleted_objects(objs, request)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Show what was changed by hand, by whom and why."""
        return super().history_view(request, object_id, {"model_admin": self, **(extra_context or {})})

    def log_deletions(self, request: HttpRequest, queryset: Any) -> list[LogEntry]:
        """Log deletions with the reason given."""
        message = [{"deleted": {}}, {"reason": request.POST.get("reason", "").strip()}]
        return LogEntry.objects.log_actions(request.user.pk or 0, queryset, DELETION, change_message=message)
