// Names Django's autocomplete boxes after their labels; select2 leaves them without one.
{
  const name = () => document.querySelectorAll("select.select2-hidden-accessible").forEach((select) => {
    const label = select.labels?.[0], box = select.nextElementSibling;
    if (!label || !box) return;
    label.id ||= select.id + "_label";
    const shown = box.querySelector(".select2-selection__rendered");
    box.querySelector("[role=combobox]")?.setAttribute("aria-labelledby", [label.id, shown?.id].join(" ").trim());
    shown?.setAttribute("aria-labelledby", label.id);
    box.querySelector("input")?.setAttribute("aria-labelledby", label.id);
  });
  // select2 is set up by jQuery's own, later idea of "ready".
  const soon = () => setTimeout(name, 50);
  addEventListener("load", soon);
  document.addEventListener("formset:added", soon);
}
