"use strict";
/* The list of chosen images, or the page of the one whose id is in the address. */

const entries = explorer.data("images");
const listView = document.getElementById("list-view"), imageView = document.getElementById("image-view");
const listTitle = document.title;

const nameOf = (entry) => (entry.label < 0 ? `image ${entry.id}` : `${explorer.label(entry.label)}, image ${entry.id}`);
const picture = (entry, width) => explorer.element("img", { src: explorer.pictureOf(entry.id), alt: nameOf(entry), loading: "lazy", class: "crisp", style: { width, display: "block" } });

const cell = (entry) => explorer.element("a", { class: "cell", href: `#${entry.id}` }, picture(entry, "100%"),
  explorer.element("span", { class: "number" }, nameOf(entry)),
  entry.predicted ? explorer.element("span", { class: "value" }, `predicted ${explorer.className(entry.predicted[0][0])}`) : null);

const page = (entry, place) => {
  const parts = [];
  const link = (other, text) => (other ? explorer.element("a", { href: `#${other.id}` }, text) : null);
  parts.push(explorer.element("nav", { class: "pager", "aria-label": "Images" }, explorer.element("a", { href: "images.html" }, "all images"),
    link(entries[place - 1], "← previous"), link(entries[place + 1], "next →")));
  parts.push(explorer.element("h1", { tabindex: "-1", id: "image-title" }, nameOf(entry)));
  const row = explorer.element("div", { class: "columns" }, explorer.element("div", {}, explorer.element("h2", {}, "Image"), picture(entry, "224px")));
  if (entry.occlusion) {
    const { target, whole, lowest, patch } = entry.occlusion;
    row.append(explorer.element("div", {}, explorer.element("h2", {}, "Occlusion map"), explorer.element("img", {
      src: `pictures/occlusion/${entry.id}${explorer.site.suffix}`, loading: "lazy", class: "crisp", style: { width: "224px" },
      alt: `Output for ${explorer.className(target)} while a part of the image is covered; dark where it falls`,
    }), explorer.element("p", { class: "note" }, `Output for ${explorer.className(target)} with a patch of ${patch.join(" × ")} pixels at each position: black is 0, and it falls from ${explorer.format(whole)} to ${explorer.format(lowest)}.`)));
  }
  if (entry.predicted) {
    row.append(explorer.element("div", {}, explorer.element("h2", {}, "Predicted classes"), explorer.element("ul", { class: "list" }, entry.predicted.map(([number, value]) => explorer.element("li", {},
      explorer.element("span", { class: "grow" }, explorer.className(number)),
      explorer.element("span", { class: "meter", "aria-hidden": "true" }, explorer.element("span", { style: { width: `${100 * Math.min(1, Math.max(0, value))}%` } })),
      explorer.element("span", { class: "figure" }, explorer.format(value)))))));
  }
  parts.push(row);
  parts.push(explorer.element("h2", {}, "Strongest channels"), explorer.element("p", { class: "note" }, "By the share of the largest activation of the channel over the data set."));
  for (const [name, channels] of entry.layers) {
    const layer = explorer.site.layers.find((one) => one.layer === name);
    parts.push(explorer.element("h3", {}, name), channels.length ? explorer.element("div", { class: "units" },
      channels.map(([channel, value, share]) => explorer.unitCell(layer, channel, `${explorer.format(value)} · ${explorer.percent(share)}`)))
      : explorer.element("p", { class: "none" }, "No channel is above zero."));
  }
  return parts;
};

const place = () => entries.findIndex((entry) => String(entry.id) === location.hash.slice(1));
const show = () => {
  const at = place();
  listView.hidden = at >= 0;
  imageView.hidden = at < 0;
  document.title = at < 0 ? listTitle : `${nameOf(entries[at])}: ${listTitle}`;
  if (at < 0) return;
  imageView.replaceChildren(...page(entries[at], at));
  window.scrollTo(0, 0);
  document.getElementById("image-title").focus({ preventScroll: true });
};

document.addEventListener("keydown", (event) => {
  const at = place();
  if (at < 0 || explorer.isTyping() || event.altKey || event.ctrlKey || event.metaKey) return;
  const next = entries[at + ({ ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? NaN)];
  if (next) { event.preventDefault(); location.hash = String(next.id); }
  if (event.key === "Escape") location.hash = "";
});
document.getElementById("list").replaceChildren(...entries.map(cell));
window.addEventListener("hashchange", show);
show();
