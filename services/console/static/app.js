// Keyboard: / search, j k rows, Enter opens, x ticks, b blocks, Escape closes the drawer. Nothing else needs a script.
"use strict";
(() => {
  const rows = () => [...document.querySelectorAll("main table[data-rows] tbody tr")];
  const typing = (one) =>
    one && one.matches("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
  const focused = () => document.querySelector("tr.is-focused");
  function move(step) {
    const all = rows();
    if (!all.length) return;
    const at = all.indexOf(focused());
    const next = all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + step))];
    if (focused()) focused().classList.remove("is-focused");
    next.classList.add("is-focused");
    next.tabIndex = -1;
    next.focus();
  }
  // What opened the drawer gets the focus back.
  let opener = null;
  function closeDrawer() {
    const drawer = document.getElementById("drawer");
    if (!drawer || !drawer.hasChildNodes()) return;
    drawer.replaceChildren();
    if (opener && opener.isConnected) opener.focus();
    opener = null;
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { closeDrawer(); return; }
    if (event.ctrlKey || event.altKey || event.metaKey || typing(event.target)) return;
    const row = focused();
    if (event.key === "/") {
      const search = document.querySelector("[data-search]");
      if (search) { event.preventDefault(); search.focus(); }
    } else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "Enter" && row && (event.target === row || event.target === document.body)) { const link = row.querySelector("a"); if (link) link.click(); }
    else if (event.key === "x" && row) { const box = row.querySelector("input[type=checkbox]"); if (box) box.click(); }
    else if (event.key === "b") { const button = document.querySelector("[data-block]"); if (button) button.focus(); }
  });
  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-close-drawer], [data-print], [data-tick-all]");
    if (!target) return;
    if (target.matches("[data-close-drawer]")) closeDrawer();
    if (target.matches("[data-print]")) window.print();
    if (target.matches("[data-tick-all]"))
      target.closest("table").querySelectorAll("tbody input[type=checkbox]").forEach((box) => { box.checked = target.checked; });
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });
  // Inserts a placeholder where the cursor was.
  document.addEventListener("click", (event) => {
    const item = event.target.closest("[data-insert]");
    if (!item) return;
    const field = document.getElementById(item.dataset.into);
    if (!field) return;
    field.setRangeText(item.dataset.insert, field.selectionStart, field.selectionEnd, "end");
    field.focus();
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (!event.detail.target || event.detail.target.id !== "drawer") return;
    const asked = event.detail.requestConfig && event.detail.requestConfig.elt;
    if (asked && !event.detail.target.contains(asked)) opener = asked;
    event.detail.target.focus();
  });
  // What was swapped in asks for the submission of a form (the letter, into its frame).
  document.addEventListener("htmx:afterSettle", (event) => {
    const target = event.detail.target;
    const button = target && target.dataset && document.getElementById(target.dataset.thenSubmit || "");
    if (!button || !document.getElementsByName(button.formTarget).length) return;
    // By a form of its own: a form that is submitted twice at once forgets the first, which may be the person's.
    const copy = document.createElement("form");
    Object.assign(copy, { method: "post", action: button.formAction, target: button.formTarget, hidden: true });
    for (const [name, value] of new FormData(button.form)) {
      copy.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
    }
    document.body.append(copy);
    copy.submit();
    copy.remove();
  });
  // The session has ended: said, and nothing is lost. Signed in anew elsewhere, the page's forms go with the new session.
  document.addEventListener("htmx:afterRequest", (event) => {
    const answer = event.detail.xhr, notice = document.getElementById("signed-out");
    if (!answer || !notice) return;
    if (answer.getResponseHeader("X-Signed-Out")) notice.hidden = false;
    const token = answer.getResponseHeader("X-CSRF-Token");
    if (!token) return;
    notice.hidden = true;
    document.body.setAttribute("hx-headers", JSON.stringify({ "X-CSRF-Token": token }));
    document.querySelectorAll("input[name=csrf]").forEach((field) => { field.value = token; });
  });
})();
