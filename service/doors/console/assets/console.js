// What the pages cannot do without a script: hold the refresh, tick all boxes, copy, and tell that a page is live.
(() => {
  const held = "release-held";
  const isHeld = () => sessionStorage.getItem(held) === "yes";
  const show = () => {
    for (const button of document.querySelectorAll("[data-hold]")) {
      button.hidden = false;
      button.setAttribute("aria-pressed", String(isHeld()));
    }
    document.documentElement.toggleAttribute("data-held", isHeld());
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
    for (const box of document.querySelectorAll("[data-tick-all]")) box.hidden = false;
    count();
  };
  const boxes = () => [...document.querySelectorAll("input[type=checkbox][name=id]")];
  const count = () => {
    const ticked = boxes().filter((box) => box.checked).length;
    for (const place of document.querySelectorAll("[data-ticked]")) place.textContent = ticked ? String(ticked) : "";
    for (const button of document.querySelectorAll("[data-needs-ticks]")) button.disabled = ticked === 0;
  };
  const isBusy = () => {
    const active = document.activeElement;
    const live = document.getElementById("live");
    if (!live) return true;
    if (live.querySelector("details[data-form][open]")) return true;
    if (boxes().some((box) => box.checked)) return true;
    return Boolean(active && live.contains(active) && active.matches("input, select, textarea"));
  };

  document.addEventListener("htmx:before:request", (event) => {
    const source = event.detail?.ctx?.sourceElement;
    if (source?.id === "refresh" && (isHeld() || isBusy())) event.preventDefault();
  });
  document.addEventListener("htmx:after:swap", show);
  for (const [name, state] of [["htmx:sse:after:connection", "on"], ["htmx:sse:error", "off"], ["htmx:sse:close", "off"]]) {
    document.addEventListener(name, () => document.documentElement.setAttribute("data-live", state));
  }
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-tick-all]")) for (const box of boxes()) box.checked = event.target.checked;
    if (event.target.matches("[data-send-at-once]")) event.target.form.requestSubmit();
    count();
  });
  document.addEventListener("click", async (event) => {
    const hold = event.target.closest("[data-hold]");
    if (hold) {
      sessionStorage.setItem(held, isHeld() ? "no" : "yes");
      show();
      if (!isHeld()) document.getElementById("stream")?.dispatchEvent(new CustomEvent("changed"));
    }
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent.trim());
      copy.setAttribute("data-copied", "");
      setTimeout(() => copy.removeAttribute("data-copied"), 1500);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey) return;
    const find = document.querySelector("[data-find]");
    if (find) {
      event.preventDefault();
      find.focus();
    }
  });
  show();
})();
