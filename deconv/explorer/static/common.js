"use strict";
/* Helpers of all pages: elements, pictures, and the search box. Texts from data are set as text, never as HTML. */

const explorer = {
  data: (name) => (window.explorerData || {})[name],
  site: (window.explorerData || {}).site,
};

/** An element with attributes and children; `style` is an object, set property by property as a strict policy requires. */
explorer.element = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") Object.assign(element.style, value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
};

/** A number with four significant digits. */
explorer.format = (value) => {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
};
explorer.percent = (value) => (value > 0 && value < 0.001 ? "< 0.1\u00a0%" : `${Number((100 * value).toFixed(1))}\u00a0%`);
explorer.count = (value) => value.toLocaleString("en");
explorer.label = (label) => (label < 0 ? "" : explorer.site.labels[label] ?? `class ${label}`);
explorer.className = (number) => explorer.site.classes[number] ?? `class ${number}`;

/* Pictures are loaded when they come near the visible part of the page. */
const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    const target = entry.target;
    target.style.backgroundImage = `url("${target.dataset.url}")`;
    observer.unobserve(target);
  }
}, { rootMargin: "300px" });

/** A tile of a sprite sheet. */
explorer.tile = (url, { columns, rows, index, width, ratio, text, crisp }) => {
  const column = index % columns, row = Math.floor(index / columns);
  const tile = explorer.element("div", {
    class: crisp ? "sprite crisp" : "sprite", role: "img", "aria-label": text, "data-url": url,
    style: {
      width: typeof width === "number" ? `${width}px` : width, aspectRatio: String(ratio),
      backgroundSize: `${columns * 100}% ${rows * 100}%`,
      backgroundPosition: `${columns > 1 ? (column / (columns - 1)) * 100 : 0}% ${rows > 1 ? (row / (rows - 1)) * 100 : 0}%`,
    },
  });
  observer.observe(tile);
  return tile;
};

/** The strongest projection of a channel, from the sheets of the grid of its layer. */
explorer.thumbnail = (layer, channel, width) => {
  const across = 8, perSheet = across * across, sheet = Math.floor(channel / perSheet);
  const here = Math.min(perSheet, layer.channels - sheet * perSheet);
  return explorer.tile(`pictures/${layer.page}/grid-${sheet}${explorer.site.suffix}`, {
    columns: across, rows: Math.ceil(here / across), index: channel % perSheet, width, ratio: layer.ratio, crisp: true,
    text: `Strongest projection of ${layer.layer}, channel ${channel}`,
  });
};

/** A link to a unit with its strongest projection. */
explorer.unitCell = (layer, channel, value, isShown = true) => explorer.element("a", {
  class: "cell", href: `${layer.page}.html#${channel}`,
},
isShown ? explorer.thumbnail(layer, channel, "100%")
  : explorer.element("div", { class: "blank", style: { width: "100%", aspectRatio: "1" } }, "inactive"),
explorer.element("span", { class: "number" }, `${channel}`), explorer.element("span", { class: "value" }, value));

explorer.pictureOf = (id) => `pictures/images/${id}${explorer.site.suffix}`;

/** A whole image with a window outlined; `size` is [height, width] of the image of the network. */
explorer.whole = (id, size, window, width, text) => {
  const [height, across] = size;
  const children = [explorer.element("img", {
    src: explorer.pictureOf(id), alt: text, loading: "lazy", class: across <= 64 ? "crisp" : null,
    style: { width: `${width}px`, height: `${(width * height) / across}px` },
  })];
  if (window) {
    const [top, left, bottom, right] = window;
    children.push(explorer.element("div", { class: "outline", style: {
      top: `${(100 * top) / height}%`, left: `${(100 * left) / across}%`,
      height: `${(100 * (bottom - top)) / height}%`, width: `${(100 * (right - left)) / across}%`,
    } }));
  }
  return explorer.element("div", { class: "whole" }, children);
};

/* Rows or columns of a window that lie outside of the image and before it. */
const missingBefore = (first, last, length, size) => {
  const missing = size - (last - first);
  if (first === 0 && last < length) return missing;
  return first > 0 ? 0 : Math.floor(missing / 2);
};

/** The part of an image inside a window; `size` is [height, width] of the image, `box` that of the largest window. */
explorer.patch = (id, size, window, box, width, text) => {
  const [top, left, bottom, right] = window, scale = width / box[1];
  const row = missingBefore(top, bottom, size[0], box[0]), column = missingBefore(left, right, size[1], box[1]);
  const image = explorer.element("img", {
    src: explorer.pictureOf(id), alt: text, loading: "lazy", class: box[1] <= 64 ? "crisp" : null,
    style: {
      width: `${size[1] * scale}px`, height: `${size[0] * scale}px`, top: `${-top * scale}px`, left: `${-left * scale}px`,
    },
  });
  const inside = explorer.element("div", { class: "inside", style: {
    top: `${row * scale}px`, left: `${column * scale}px`,
    width: `${(right - left) * scale}px`, height: `${(bottom - top) * scale}px`,
  } }, image);
  return explorer.element("div", { class: "crop", style: { width: `${width}px`, height: `${box[0] * scale}px` } }, inside);
};

/** Links of the search for a text: a unit, layers, and classes with their most selective units. */
explorer.search = (text) => {
  const wanted = text.trim().toLowerCase(), results = [];
  if (!wanted) return results;
  const { layers, labels } = explorer.site;
  const unit = wanted.match(/^(.*?)[\s#:,]+(\d+)$/) || wanted.match(/^()(\d+)$/);
  if (unit) {
    for (const layer of layers) {
      const name = layer.layer.toLowerCase(), channel = Number(unit[2]);
      if (channel < layer.channels && (name === unit[1] || name.startsWith(unit[1]))) {
        results.push({ text: `${layer.layer} ${channel}`, href: `${layer.page}.html#${channel}`, exact: name === unit[1] });
      }
    }
    results.sort((one, other) => other.exact - one.exact);
  }
  for (const layer of layers) {
    if (layer.layer.toLowerCase().includes(wanted)) results.push({ text: `layer ${layer.layer}`, href: `${layer.page}.html` });
  }
  labels.forEach((label, number) => {
    if (!label.toLowerCase().includes(wanted) || results.length > 60) return;
    for (const layer of [...layers].reverse()) {
      for (const [channel, selectivity] of (layer.best[number] || []).slice(0, 3)) {
        results.push({ text: `${label}: ${layer.layer} ${channel} (selectivity ${explorer.format(selectivity)})`, href: `${layer.page}.html#${channel}` });
      }
    }
  });
  return results.slice(0, 60);
};

explorer.setUpSearch = () => {
  const input = document.getElementById("search"), list = document.getElementById("results");
  const show = () => {
    const results = explorer.search(input.value);
    list.replaceChildren(...results.map(({ text, href }) => explorer.element("li", {}, explorer.element("a", { href }, text))));
    if (!results.length) list.append(explorer.element("li", { class: "none" }, "No unit, layer or class of that name."));
    list.hidden = !input.value.trim();
  };
  const close = () => { list.hidden = true; };
  input.addEventListener("input", show);
  input.addEventListener("focus", show);
  input.form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
    const first = list.querySelector("a");
    if (first) { close(); input.blur(); location.href = first.href; }
  });
  list.addEventListener("click", close);
  input.form.addEventListener("keydown", (event) => {
    const links = [input, ...list.querySelectorAll("a")], at = links.indexOf(document.activeElement);
    if (event.key === "Escape") { close(); input.focus(); close(); }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const next = links[at + (event.key === "ArrowDown" ? 1 : -1)];
      if (next) { event.preventDefault(); next.focus(); }
    }
  });
  document.addEventListener("click", (event) => { if (!input.form.contains(event.target)) close(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !explorer.isTyping()) { event.preventDefault(); input.focus(); }
  });
};
explorer.isTyping = () => ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement?.tagName);

explorer.setUpSearch();
document.querySelector(".layers [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
