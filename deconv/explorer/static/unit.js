"use strict";
/* The page of one unit. */

const TILE = 112;

const section = (title, note, ...content) => explorer.element("section", {}, explorer.element("h2", {}, title),
  note ? explorer.element("p", { class: "note" }, note) : null, ...content);

const layerOf = (page) => explorer.site.layers.find((one) => one.page === page);

const caption = (parts, id) => {
  const texts = explorer.element("figcaption", {}, explorer.element("b", {}, parts[0]), ...parts.slice(1).filter(Boolean).map((part) => ` · ${part}`), " · ");
  texts.append(explorer.site.shown.includes(id) ? explorer.element("a", { href: `images.html#${id}` }, `image ${id}`) : `image ${id}`);
  return texts;
};

const strongest = (data, channel) => {
  const unit = data.units[channel], columns = Math.min(3, unit.ids.length), rows = Math.ceil(unit.ids.length / columns);
  const ratio = data.size[1] / data.size[0], crisp = Math.max(...data.size) <= 64;
  return explorer.element("div", { class: "cards" }, unit.ids.map((id, index) => {
    const value = unit.values[index], what = `image ${id}${unit.labels[index] < 0 ? "" : `, ${explorer.label(unit.labels[index])}`}`;
    if (!(value > 0)) return null;
    const projection = data.reason ? null : explorer.tile(`pictures/${data.page}/${channel}${data.suffix}`, {
      columns, rows, index, width: TILE, ratio, crisp, text: `Projection of ${data.layer}, channel ${channel}, in ${what}`,
    });
    return explorer.element("figure", { class: "card" }, explorer.element("div", { class: "row" }, projection,
      explorer.patch(id, data.image, unit.windows[index], data.size, TILE, `Receptive field in ${what}`),
      explorer.whole(id, data.image, unit.windows[index], TILE, `Whole ${what}, receptive field outlined`)),
    caption([explorer.format(value), explorer.label(unit.labels[index])], id));
  }));
};

const quantiles = (data, channel) => explorer.element("div", { class: "cards narrow" },
  data.units[channel].quantiles.map(([first, last, id, value, label, window]) => explorer.element("figure", { class: "card" },
    explorer.element("div", { class: "row" },
      explorer.patch(id, data.image, window, data.size, TILE, `Receptive field in image ${id}`),
      explorer.whole(id, data.image, window, TILE, `Whole image ${id}, receptive field outlined`)),
    caption([first === last ? `${first} %` : `${first} to ${last} %`, explorer.format(value), explorer.label(label)], id))));

const classes = (data, channel) => {
  const rows = data.units[channel].classes, most = Math.max(...rows.map(([, mean]) => mean), 0);
  return explorer.element("ul", { class: "list" }, rows.map(([label, mean, active, images]) => explorer.element("li", {},
    explorer.element("span", { class: "grow" }, explorer.label(label)),
    explorer.element("span", { class: "meter", "aria-hidden": "true" }, explorer.element("span", { style: { width: `${most ? (100 * mean) / most : 0}%` } })),
    explorer.element("span", { class: "figure" }, `${explorer.format(mean)} · ${explorer.count(active)} of ${explorer.count(images)}`))));
};

const effects = (rows, title, sign) => explorer.element("div", {}, explorer.element("h3", { class: "note" }, title),
  rows.length ? explorer.element("ul", { class: "list" }, rows.map(([number, change, before]) => explorer.element("li", {},
    explorer.element("span", { class: "grow" }, explorer.className(number)),
    explorer.element("span", { class: `figure ${sign}` }, `${change > 0 ? "+" : ""}${explorer.format(change)}`),
    explorer.element("span", { class: "figure note" }, `from ${explorer.format(before)}`))))
    : explorer.element("p", { class: "none" }, "none"));

const unitLinks = (layer, rows, shown) => (layer && rows.length
  ? explorer.element("div", { class: "units" }, rows.map(([channel, value]) => explorer.unitCell(layer, channel, explorer.format(value), shown ? shown[channel] : true)))
  : explorer.element("p", { class: "none" }, "none"));

const facts = (data, channel) => {
  const preferred = data.preferred[channel];
  const rows = [["maximum", explorer.format(data.maximum[channel])], ["mean", explorer.format(data.mean[channel])],
    ["inactive in", explorer.percent(data.inactive[channel])], ["sparsity", explorer.format(data.sparsity[channel])]];
  if (preferred >= 0) rows.push(["class selectivity", explorer.format(data.selectivity[channel])], ["preferred class", explorer.label(preferred)]);
  return explorer.element("dl", { class: "facts inline" }, rows.map(([term, text]) => explorer.element("div", {}, explorer.element("dt", {}, term), explorer.element("dd", {}, text))));
};

/** The page of a unit, as a list of elements. */
explorer.unit = (data, channel) => {
  const unit = data.units[channel], count = data.units.length, layer = layerOf(data.page);
  const link = (number, text, rel) => (number >= 0 && number < count ? explorer.element("a", { href: `#${number}`, rel }, text) : null);
  const content = [
    explorer.element("nav", { class: "pager", "aria-label": "Channels" }, explorer.element("a", { href: `${data.page}.html`, id: "all" }, `all of ${data.layer}`),
      link(channel - 1, `← ${channel - 1}`, "prev"), link(channel + 1, `${channel + 1} →`, "next")),
    explorer.element("h1", { tabindex: "-1", id: "unit-title" }, `${data.layer}, channel ${channel}`),
    facts(data, channel),
  ];
  if (data.reason) content.push(explorer.element("p", { class: "notice" }, data.reason));
  if (data.shown[channel]) {
    content.push(section("Strongest activations", data.reason ? "The receptive field, and the whole image with it outlined."
      : "Projection, receptive field, and the whole image with the receptive field outlined. Each projection has its own scale.", strongest(data, channel)));
  } else content.push(explorer.element("p", { class: "notice", id: "never" }, "This channel is not above zero in any image of the data set."));
  if (data.hasOptimised) {
    content.push(section("Optimised image", "An image that has been optimised to excite this channel.", explorer.element("img", {
      src: `pictures/${data.page}/optimised-${channel}${data.suffix}`, alt: `Image optimised for ${data.layer}, channel ${channel}`, loading: "lazy" })));
  }
  if (data.attribution) {
    content.push(section("Explanation", `Of the strongest image, by ${data.attribution.replaceAll("_", " ")}; grey is zero.`, explorer.element("img", {
      src: `pictures/${data.page}/attribution-${channel}${data.suffix}`, alt: `Explanation of ${data.layer}, channel ${channel}, in its strongest image`, loading: "lazy" })));
  }
  content.push(section("Examples from ten quantiles", "One image drawn at random from each; 95 % means that 95 % of the images excite the channel less or equally. Quantiles with equal activation share one.", quantiles(data, channel)));
  content.push(section("Activation over the data set", null, explorer.histogram(unit.bins, data.images)));
  const columns = explorer.element("div", { class: "columns" });
  if (unit.classes.length) columns.append(section("Classes of the images", "Mean activation, and number of images in which the channel is above zero.", classes(data, channel)));
  if (data.hasAblation) {
    columns.append(section("If the channel is set to zero", unit.ablation
      ? `Mean change of the outputs of ${explorer.site.outputName} over its ${unit.ablation.images} strongest images.` : "The channel is zero in all images.",
    ...(unit.ablation ? [effects(unit.ablation.losses, "largest losses", "down"), effects(unit.ablation.gains, "largest gains", "up")] : [])));
  }
  content.push(columns, section("Channels with the most similar responses", "Correlation of the activation over images.", unitLinks(layer, unit.similar, data.shown)));
  if (data.below) {
    const below = layerOf(data.below);
    content.push(section(`Strongest filters from ${data.belowName}`, "Sum of the weights with which this channel receives a channel of the layer below. Positive:", unitLinks(below, unit.positive)),
      explorer.element("p", { class: "note" }, "Negative:"), unitLinks(below, unit.negative));
  }
  return content;
};
