// Drives the page from inside: what a reader does, and what came of it, written into the page or sent to the one around it.
"use strict";
(() => {
  const found = { errors: [] };
  addEventListener("error", (event) => found.errors.push(`error: ${event.message}`));
  addEventListener("unhandledrejection", (event) => found.errors.push(`rejection: ${event.reason}`));
  addEventListener("securitypolicyviolation", (event) => found.errors.push(`policy: ${event.violatedDirective} ${event.sourceFile}`));
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const seen = (element) => element.getClientRects().length > 0;
  const panel = () => one("#panel");
  const columns = () => all(".paths th[data-path]").filter(seen).length;
  const rows = () => all("tr[data-layer]").filter(seen).length;
  const wait = () => new Promise((resolve) => setTimeout(resolve, 50));
  const evidence = () => ({
    open: panel().open,
    title: one("#panel-title").textContent,
    text: one("#panel-body").textContent,
    script: one("#panel-body pre.script")?.textContent ?? null,
    elements: all("#panel-body script, #panel-body img, #panel-body b").length,
  });
  const key = (name) => document.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));

  async function drive() {
    window.focus();
    found.linked = evidence();
    if (panel().open) key("Escape");
    found.closed = !panel().open;
    found.columns = columns();
    found.rows = rows();
    found.buttons = all("#box button[data-cell]").filter(seen).length;
    found.tabbable = all("#box button[data-cell]").filter((button) => button.tabIndex === 0).length;
    found.unnamed = all("#box button[data-cell]").filter((button) => !button.getAttribute("aria-label")).length;

    const button = one('td[id="pytorch/fx/lstm"] button');
    button.click();
    await wait();
    found.clicked = evidence();
    found.address = location.hash;
    found.focus = document.activeElement?.id;
    found.sideways = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    found.panelSideways = panel().scrollWidth - panel().clientWidth;
    key("Escape");
    await wait();
    found.escaped = !panel().open && location.hash === "";

    button.focus();
    button.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp", bubbles: true }));
    found.arrow = document.activeElement.closest("td")?.id;

    const form = one("#filters");
    const set = (name, value, checked) => {
      const input = [...form.elements].find((input) => input.name === name && (value === null || input.value === value));
      if (input.type === "checkbox") input.checked = checked;
      else input.value = checked;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    };
    set("framework", "tensorflow", false);
    found.withoutTensorFlow = { columns: columns(), left: all('[data-path^="tensorflow/"]').filter(seen).length };
    set("framework", "tensorflow", true);
    set("path", "pytorch/fx", false);
    found.withoutPath = { columns: columns(), shown: seen(one('th[data-path="pytorch/fx"]')) };
    set("path", "pytorch/fx", true);
    set("layer", null, "lstm");
    found.named = { rows: rows(), groups: all("#box tr.group").filter(seen).length };
    set("layer", null, "xyzzy");
    found.nothing = { rows: rows(), said: seen(one("#nothing")) };
    set("layer", null, "");
    set("gaps", null, true);
    found.gaps = all("#box button[data-cell]").filter((it) => seen(it) && !it.classList.contains("other")).length;
    set("gaps", null, false);
    one('[data-none="state"]').click();
    set("state", "fails", true);
    found.failing = all("#box button[data-cell]").filter((it) => seen(it) && !it.classList.contains("other")).length;
    form.reset();
    await wait();
    found.reset = { columns: columns(), rows: rows() };

    one("#controls button[data-cell]").click();
    await wait();
    found.control = evidence();
    found.sidewaysAtEnd = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    found.matrixScrolls = one("#box").scrollWidth > one("#box").clientWidth;
  }

  addEventListener("load", async () => {
    try {
      await drive();
    } catch (error) {
      found.errors.push(`harness: ${error}`);
    }
    const text = JSON.stringify(found);
    if (parent !== window) parent.postMessage(text, "*");
    else document.body.prepend(Object.assign(document.createElement("pre"), { id: "findings", textContent: text }));
  });
})();
