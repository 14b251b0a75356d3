// Filters of the matrix, and the evidence of a cell. All text is set as text, never as HTML.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (index) => data.strings[index];
  const byId = (id) => document.getElementById(id);
  const narrow = () => matchMedia("(max-width: 44rem)").matches;
  const places = new Map(data.cells.map((cell, index) => [cell.key, index]));
  document.documentElement.classList.add("program");

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function say(text) {
    byId("said").textContent = text;
    setTimeout(() => { byId("said").textContent = ""; }, 2500);
  }

  async function copy(text, shown) {
    try {
      await navigator.clipboard.writeText(text);
      say("copied");
    } catch {
      // A page that may not write to the clipboard can still select the text for the reader.
      if (shown) getSelection().selectAllChildren(shown);
      say(shown ? "selected: copy it with the keyboard" : text);
    }
  }

  // The matrix

  const box = byId("box");
  const rows = box ? [...box.querySelectorAll("tbody tr[data-layer]")] : [];
  const cells = rows.map((row) => [...row.querySelectorAll("td")]);
  const heads = box ? [...box.querySelectorAll(".paths th[data-path]")] : [];
  const buttonOf = (td) => td.firstElementChild;
  const frameworkOf = (head) => head.dataset.path.split("/")[0];

  function chosen(form, name) {
    const boxes = [...form.elements].filter((input) => input.name === name);
    const on = boxes.filter((input) => input.checked).map((input) => input.value);
    return { set: new Set(on), all: on.length === boxes.length };
  }

  function filter() {
    const form = byId("filters");
    const words = form.elements.layer.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const gaps = form.elements.gaps.checked;
    const [frameworks, states, paths] = ["framework", "state", "path"].map((name) => chosen(form, name));
    const fits = (td) => {
      const button = buttonOf(td);
      if (!button) return false;
      const entry = data.cells[button.dataset.cell];
      return states.set.has(at(entry.kind)) && (!gaps || entry.gap);
    };
    const narrow = gaps || !states.all;
    const fit = cells.map((row) => row.map(fits));
    const asked = heads.map((head) => frameworks.set.has(frameworkOf(head)) && paths.set.has(head.dataset.path));
    const named = rows.map((row) => {
      const name = row.dataset.layer.toLowerCase();
      return words.length === 0 || words.some((word) => name.includes(word));
    });
    const columns = asked.map((is, column) => is && (!narrow || fit.some((row, index) => named[index] && row[column])));
    const lines = named.map((is, index) => is && (!narrow || fit[index].some((is, column) => is && columns[column])));
    let shown = 0;
    rows.forEach((row, index) => {
      row.hidden = !lines[index];
      cells[index].forEach((td, column) => {
        td.hidden = !columns[column];
        const button = buttonOf(td);
        if (button) button.classList.toggle("other", !fit[index][column]);
        if (fit[index][column] && columns[column] && lines[index]) shown += 1;
      });
    });
    showHeads(columns);
    for (const group of box.querySelectorAll("tbody")) {
      group.hidden = ![...group.querySelectorAll("tr[data-layer]")].some((row) => !row.hidden);
    }
    byId("nothing").hidden = shown > 0;
    byId("shown").textContent = `${shown.toLocaleString("en")} cells shown`;
    const left = columns.filter(Boolean).length;
    byId("paths-shown").textContent = left === columns.length ? `(all ${left})` : `(${left} of ${columns.length})`;
    rove();
  }

  /** Hides the heads of columns, and makes those of frameworks as wide as what is left below them. */
  function showHeads(columns) {
    let last = null;
    heads.forEach((head, column) => {
      head.hidden = !columns[column];
      const first = columns[column] && frameworkOf(head) !== last;
      if (columns[column]) last = frameworkOf(head);
      head.classList.toggle("first", first);
      for (const row of cells) row[column].classList.toggle("first", first);
    });
    for (const head of box.querySelectorAll(".frameworks th")) {
      const span = heads.filter((path) => !path.hidden && frameworkOf(path) === head.dataset.framework).length;
      head.hidden = span === 0;
      if (span > 0) head.colSpan = span;
    }
    for (const head of box.querySelectorAll(".group th")) head.colSpan = columns.filter(Boolean).length + 1;
  }

  /** One button of the matrix is in the order of the tab key; arrow keys reach the others. */
  function rove(to) {
    const buttons = cells.flat().map(buttonOf).filter(Boolean);
    const visible = (button) => !button.closest("td").hidden && !button.closest("tr").hidden;
    const one = to ?? buttons.find((button) => button.tabIndex === 0 && visible(button)) ?? buttons.find(visible);
    for (const button of buttons) button.tabIndex = button === one ? 0 : -1;
  }

  function step(event) {
    const button = event.target.closest("button[data-cell]");
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (!button || !steps[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const [down, right] = steps[event.key];
    const td = button.closest("td");
    let row = rows.indexOf(td.parentElement);
    let column = cells[row].indexOf(td);
    while (cells[row += down]?.[column += right]) {
      const next = buttonOf(cells[row][column]);
      if (next && !rows[row].hidden && !cells[row][column].hidden) {
        rove(next);
        next.focus();
        if (byId("panel").open && !byId("panel").matches(":modal")) go(data.cells[next.dataset.cell].key, false);
        return;
      }
    }
  }

  let crossed = [];
  function cross(event) {
    for (const marked of crossed) marked.classList.remove("crossed");
    crossed = [];
    const td = event.type === "mouseleave" ? null : event.target.closest("tbody td");
    if (!td) return;
    const column = cells[rows.indexOf(td.parentElement)]?.indexOf(td);
    if (column === undefined) return;
    crossed = [td.parentElement, heads[column], ...cells.map((row) => row[column])];
    for (const marked of crossed) marked.classList.add("crossed");
  }

  // The evidence

  function section(title, ...children) {
    return [element("h3", {}, title), ...children];
  }

  const pre = (lines) => element("pre", {}, lines.map(at).join("\n"));
  const folded = (title, ...children) => element("details", {}, element("summary", {}, title), ...children);

  function table(name, head, body) {
    const line = element("tr", {}, ...head.map((title) => element("th", { scope: "col" }, title)));
    const made = element("table", { class: `words ${name}` }, element("thead", {}, line), element("tbody", {}, ...body));
    return element("div", { class: "scroll", tabindex: "0" }, made);
  }

  function operators(list) {
    const body = list.map(([index, count]) => {
      const [name, role, how, kind, types, kernel, weighted] = data.operators[index];
      const title = element("td", {}, element("code", {}, at(name)), count > 1 ? ` × ${count}` : "");
      if (weighted) title.append(element("small", {}, "with weights"));
      if (at(kernel)) title.append(element("small", {}, `kernel ${at(kernel)}`));
      const role_ = element("td", {}, at(role));
      return element("tr", { class: at(role), "data-class": at(kind) }, title, role_, element("td", {}, at(how)),
        element("td", {}, element("code", {}, at(types))));
    });
    return table("operators", ["Operator", "Place", "Computes", "Types"], body);
  }

  function evidence(cell) {
    const out = [];
    const swatch = element("span", { class: `swatch ${at(cell.kind)}${cell.gap ? " gap" : ""}`, "aria-hidden": "true" }, at(cell.mark));
    out.push(element("p", { class: "state" }, swatch, at(cell.state)));
    if (at(cell.verdict)) out.push(element("p", { class: "fine" }, `${at(cell.verdict)}.`));
    if (at(cell.reason)) out.push(element("p", {}, at(cell.reason)));
    if (cell.error) out.push(...section("Error", pre(cell.error)));
    if (cell.traceback) out.push(folded("Traceback", pre(cell.traceback)));
    if (cell.facts.length) {
      const pairs = cell.facts.flatMap(([label, value]) => [element("dt", {}, at(label)), element("dd", {}, at(value))]);
      out.push(...section("Numbers", element("dl", { class: "facts" }, ...pairs)));
    }
    out.push(...script(cell));
    if (cell.operators) out.push(...section("What executed", operators(cell.operators)));
    if (cell.weights) {
      const body = cell.weights.map((index) => element("tr", {}, ...data.weights[index].map((text, column) =>
        element("td", {}, column ? at(text) : element("code", {}, at(text))))));
      out.push(...section("Weights in the artefact", table("", ["Name", "Type", "Shape"], body)));
    }
    if (cell.kernels) {
      out.push(...section("Kernels", element("ul", {}, ...cell.kernels.map((text) => element("li", {}, at(text))))));
    }
    if (cell.warnings) out.push(...section(`Warnings (${cell.warnings.length})`, ...cell.warnings.map(pre)));
    if (cell.log) out.push(...section("Log", folded("the end of standard error", pre(cell.log))));
    const [, versions] = data.frameworks[cell.framework];
    if (versions.length) {
      out.push(...section("Versions", element("p", { class: "fine" }, versions.map((pair) => pair.join(" ")).join(", "))));
    }
    return out;
  }

  function script(cell) {
    if (!cell.script) return [];
    const text = cell.script.map((part) => data.parts[part]).join("");
    const shown = element("pre", { class: "script", tabindex: "0" }, text);
    const button = element("button", { type: "button", class: "small", id: "copy-script" }, "copy script");
    button.addEventListener("click", () => copy(text, shown));
    const heading = element("h3", {}, "The script that shows it", button);
    const note = element("p", { class: "fine" }, "Ends with 1 while the gap exists, with 0 when it is closed. On the command line: ",
      element("code", {}, `calipers gaps show ${cell.key} --script`));
    return [heading, note, shown];
  }

  function show(key) {
    const cell = data.cells[places.get(key)];
    const panel = byId("panel");
    byId("panel-place").textContent = cell.key;
    byId("panel-title").textContent = `${at(cell.layer)} · ${data.frameworks[cell.framework][0]}, ${at(cell.path)}`;
    byId("panel-body").replaceChildren(...evidence(cell));
    mark(cell.key);
    if (!panel.open) {
      // Where the panel covers everything, what is below must not be reached.
      if (narrow()) panel.showModal();
      else panel.show();
    }
    document.body.classList.add("opened");
    panel.scrollTop = 0;
  }

  function mark(key) {
    for (const button of document.querySelectorAll("button[aria-expanded]")) button.removeAttribute("aria-expanded");
    const button = key === null ? null : document.querySelector(`button[data-cell="${places.get(key)}"]`);
    if (!button) return null;
    button.setAttribute("aria-expanded", "true");
    if (button.closest("#box")) {
      rove(button);
      button.closest("td").scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    return button;
  }

  function close() {
    const opened = document.querySelector("button[aria-expanded]");
    mark(null);
    byId("panel").close();
    document.body.classList.remove("opened");
    opened?.focus({ preventScroll: true });
  }

  /** Opens a cell by its name and puts the name into the address, or closes the panel. */
  function go(key, focus) {
    const address = key === null ? location.pathname + location.search : `#${key}`;
    try {
      history[byId("panel").open ? "replaceState" : "pushState"](null, "", address);
    } catch {
      // A page without an address of its own still shows its evidence.
    }
    if (key === null) close();
    else show(key);
    if (focus) byId("panel-title").focus({ preventScroll: true });
  }

  function follow() {
    let key = "";
    try {
      key = decodeURIComponent(location.hash.slice(1));
    } catch {
      // An address that is no encoded text names no cell.
    }
    if (places.has(key)) show(key);
    else if (byId("panel").open) close();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-cell]");
    const none = event.target.closest("button[data-none]");
    if (button) go(data.cells[button.dataset.cell].key, true);
    if (none) {
      for (const input of byId("filters").elements) if (input.name === none.dataset.none) input.checked = false;
      filter();
    }
  });
  byId("close").addEventListener("click", () => go(null, false));
  byId("copy-link").addEventListener("click", () => copy(location.href, null));
  byId("panel").addEventListener("cancel", (event) => {
    event.preventDefault();
    go(null, false);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && byId("panel").open) go(null, false);
  });
  addEventListener("hashchange", follow);
  addEventListener("popstate", follow);
  if (box) {
    if (narrow()) document.querySelector(".legend").open = false;
    const form = byId("filters");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", filter);
    form.addEventListener("reset", () => setTimeout(filter));
    box.addEventListener("keydown", step);
    box.addEventListener("mouseover", cross);
    box.addEventListener("mouseleave", cross);
    filter();
  }
  follow();
})();
