// The little that HTML cannot do alone; every page works without it.
{
  const one = (q) => document.querySelector(q), all = (q) => [...document.querySelectorAll(q)], on = addEventListener;
  const show = (box) => box?.open || box?.showModal();
  const menus = () => all("details.menu[open]");
  const count = () => all("[data-selected]").forEach((e) => (e.textContent = all(".action-select:checked").length + " selected"));
  const fade = () => setTimeout(() => all(".toast[role=status]").forEach((t) => t.remove()), 8000);

  on("click", (e) => {
    const at = (q) => e.target.closest(q), open = at("[data-open]"), copy = at("[data-copy]");
    if (open) { e.preventDefault(); show(one(open.dataset.open)); }
    if (at("[data-close]") && at("dialog")) { e.preventDefault(); at("dialog").close(); }
    if (at("[data-dismiss]")) at(".toast").remove();
    if (copy) navigator.clipboard?.writeText(copy.dataset.copy).then(() => (one("#live").textContent = "Copied"));
    menus().forEach((m) => (m.open &&= m.contains(e.target)));
  });
  on("change", (e) => {
    if (e.target.id == "action-toggle") all(".action-select").forEach((box) => (box.checked = e.target.checked));
    count();
  });
  // A second press has no effect. Forms sent by htmx guard themselves with hx-disabled-elt.
  on("submit", (e) => {
    const form = e.target;
    if (form.method != "post" || form.matches("[hx-post], [data-again]")) return;
    if (form.ariaBusy) e.preventDefault();
    form.ariaBusy = "true";
  });
  on("pageshow", () => { all("form[aria-busy]").forEach((f) => (f.ariaBusy = null)); count(); fade(); });
  // Not on afterSwap: htmx moves the focus to the safe choice while it settles, which would undo a Tab made before.
  on("htmx:afterSettle", (e) => { if (e.target.id == "dialog") show(e.target); fade(); });
  on("keydown", (e) => {
    const typing = e.target.closest("input,select,textarea"), held = e.ctrlKey || e.metaKey;
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key], key = held || !typing ? e.key : "";
    if (held ? key == "k" : key == "/") { e.preventDefault(); held ? show(one("#palette")) : one("[data-search]")?.focus(); }
    else if (key == "?") show(one("#help"));
    else if (e.key == "Escape") menus().forEach((m) => { m.open = false; m.firstElementChild.focus(); });
    else if (step && one("#palette[open]")) {
      const stops = all("#palette :is(input, a)");
      e.preventDefault();
      stops.at((stops.indexOf(document.activeElement) + step) % stops.length).focus();
    }
  });
}
