"use strict";
/* The page of a layer: the grid of its channels, or the page of the unit whose number is in the address. */

const data = explorer.data(document.body.dataset.page);
const views = { layer: document.getElementById("layer-view"), unit: document.getElementById("unit-view") };
const controls = { sort: document.getElementById("sort"), filter: document.getElementById("filter"), count: document.getElementById("count") };
const own = explorer.site.layers.find((one) => one.page === data.page);
const layerTitle = document.title;

const valueShown = (channel) => {
  const by = controls.sort.value;
  if (by === "number" || by === "similar") return `max ${explorer.format(data.maximum[channel])}`;
  if (by === "inactive") return `${explorer.percent(data.inactive[channel])} inactive`;
  return explorer.format(data[by][channel]);
};

const sorted = () => {
  const by = controls.sort.value;
  if (by === "similar") return [...data.order];
  const channels = data.units.map((_, channel) => channel);
  return by === "number" ? channels : channels.sort((one, other) => data[by][other] - data[by][one] || one - other);
};

const showGrid = () => {
  const wanted = controls.filter.value, channels = sorted().filter((channel) => wanted === "" || data.preferred[channel] === Number(wanted));
  document.getElementById("grid").replaceChildren(...channels.map((channel) => explorer.unitCell(own, channel, valueShown(channel), data.shown[channel])));
  controls.count.textContent = channels.length === data.units.length ? `${explorer.count(channels.length)} channels` : `${explorer.count(channels.length)} of ${explorer.count(data.units.length)} channels`;
};

const setUp = () => {
  const never = data.inactive.filter((share) => share === 1).length;
  document.getElementById("layer-facts").textContent = `${data.kind}, output ${data.shape.join(" × ")}, receptive field ${data.field}. `
    + `${never === 0 ? "All channels are" : `${never} of ${data.units.length} channels are never`} active in ${explorer.count(data.images)} images.`;
  if (data.reason) {
    document.getElementById("reason").hidden = false;
    document.getElementById("reason").textContent = `Without projections: ${data.reason}`;
  }
  for (const label of [...new Set(data.preferred)].filter((one) => one >= 0).sort((one, other) => one - other)) {
    controls.filter.append(explorer.element("option", { value: label }, explorer.label(label)));
  }
  controls.filter.parentElement.hidden = controls.filter.options.length < 2;
  for (const name of ["sort", "filter"]) controls[name].addEventListener("change", showGrid);
  document.getElementById("tools").addEventListener("submit", (event) => event.preventDefault());
};

const chosen = () => {
  const text = location.hash.slice(1);
  return /^\d+$/.test(text) && Number(text) < data.units.length ? Number(text) : null;
};

const show = () => {
  const channel = chosen();
  views.layer.hidden = channel !== null;
  views.unit.hidden = channel === null;
  if (channel === null) {
    document.title = layerTitle;
    if (!document.getElementById("grid").childElementCount) showGrid();
    return;
  }
  views.unit.replaceChildren(...explorer.unit(data, channel));
  document.title = `${data.layer} ${channel}: ${layerTitle}`;
  window.scrollTo(0, 0);
  document.getElementById("unit-title").focus({ preventScroll: true });
};

document.addEventListener("keydown", (event) => {
  const channel = chosen();
  if (channel === null || explorer.isTyping() || event.altKey || event.ctrlKey || event.metaKey) return;
  const next = { ArrowLeft: channel - 1, ArrowRight: channel + 1 }[event.key];
  if (next !== undefined && next >= 0 && next < data.units.length) { event.preventDefault(); location.hash = String(next); }
  if (event.key === "Escape") location.hash = "";
});
window.addEventListener("hashchange", show);
setUp();
show();
