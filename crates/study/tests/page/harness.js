// Looks at the page from inside: what a reader sees at this width, and what came of following its links.
"use strict";
(() => {
  const found = { errors: [] };
  addEventListener("error", (event) => found.errors.push(`error: ${event.message}`));
  addEventListener("securitypolicyviolation", (event) => found.errors.push(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  const all = (selector) => [...document.querySelectorAll(selector)];
  const wait = () => new Promise((resolve) => setTimeout(resolve, 50));
  const root = document.documentElement;

  // A chart of which something is drawn: every panel has a size and, beside the lines of its grid, marks in it.
  const isDrawn = (figure) => {
    const pictures = [...figure.querySelectorAll("svg")];
    return pictures.length > 0 && pictures.every((picture) => {
      const { width, height } = picture.getBoundingClientRect();
      return width > 40 && height > 10 && picture.querySelector("rect, circle, path:not(.grid)") !== null;
    });
  };

  const brightness = (color) => {
    const [red, green, blue] = color.match(/[\d.]+/g).map(Number);
    const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  };

  const contrast = (a, b) => {
    const [dark, light] = [brightness(a), brightness(b)].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  };

  // WCAG 2's contrast of a text against what is behind it; an SVG's text is filled.
  const legibility = (element) => {
    const style = getComputedStyle(element);
    let behind = element;
    while (behind && /rgba\(0, 0, 0, 0\)|transparent/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
    const back = behind ? getComputedStyle(behind).backgroundColor : "rgb(255, 255, 255)";
    return contrast(element instanceof SVGElement ? style.fill : style.color, back);
  };

  async function look() {
    found.opened = document.querySelector(":target")?.closest("details")?.open ?? null;
    found.charts = Object.fromEntries(all("figure.chart").map((figure) => [figure.id, isDrawn(figure)]));
    found.histograms = all("#weights figure.weights").filter(isDrawn).length;
    found.sections = all("section").map((section) => section.id);
    found.sideways = root.scrollWidth - root.clientWidth;

    const levels = all("h1, h2, h3, h4").map((heading) => Number(heading.tagName[1]));
    found.skippedHeadings = levels.filter((level, index) => index > 0 && level > levels[index - 1] + 1).length;
    found.unnamedPictures = all("svg[role=img]").filter((picture) => !picture.getAttribute("aria-label")).length;
    found.unreachable = all(".scroll").filter((box) => box.tabIndex !== 0).length;
    found.nameless = all(".scroll[role=region]").filter((box) => !box.getAttribute("aria-label")).length;
    found.first = all("a, button, summary, [tabindex]")[0]?.className;

    const samples = ["p", "td", "th", "a", "summary", "dt", "dd strong", ".answers span", ".status", "svg .name", "svg .number", ".axis text", "figcaption span"];
    found.legibility = Object.fromEntries(samples.map((selector) => {
      const texts = all(selector).filter((element) => element.getClientRects().length > 0).slice(0, 60);
      return [selector, Math.min(...texts.map(legibility))];
    }));
    found.smallest = Math.min(...all(".panel svg .name").map((text) => text.getBoundingClientRect().height));
    found.narrowest = Math.min(...all("tbody th[scope=row]").filter((name) => name.getClientRects().length > 0).map((name) => name.getBoundingClientRect().width));
    found.dark = brightness(getComputedStyle(document.body).backgroundColor) < 0.5;

    const link = document.querySelector("#accuracy tbody th a");
    link.click();
    await wait();
    found.followed = { address: location.hash, open: document.querySelector(":target")?.closest("details")?.open ?? null };
    for (const details of all("details")) details.open = true;
    await wait();
    found.sidewaysAllOpen = root.scrollWidth - root.clientWidth;
    found.widest = all("main *").filter((element) => !element.closest(".scroll, pre, svg") && element.getBoundingClientRect().right > root.clientWidth + 1).length;
    found.drawnInCells = all("#cells figure.weights").filter(isDrawn).length;
    found.inCells = all("#cells figure.weights").length;
  }

  addEventListener("load", async () => {
    try {
      await look();
    } catch (error) {
      found.errors.push(`harness: ${error}`);
    }
    const text = JSON.stringify(found);
    if (parent !== window) parent.postMessage(text, "*");
    else document.body.prepend(Object.assign(document.createElement("pre"), { id: "findings", textContent: text }));
  });
})();
