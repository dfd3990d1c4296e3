"use strict";
/* The histogram of the activation of a unit, with a slider for a threshold. */

const BINS_PER_OCTAVE = 16, ZERO_BIN = 1100 * BINS_PER_OCTAVE, OCTAVES_SHOWN = 10;

/** The lower edge of a bin; see `activation_sketch.py`. */
explorer.edge = (bin) => (bin === 0 ? 0 : Math.sign(bin) * 2 ** ((Math.abs(bin) + (bin < 0) - ZERO_BIN) / BINS_PER_OCTAVE - 1));

/** Number of images whose activation is in the bin number `from` of a list or above; exact. */
explorer.countFrom = (bins, from) => bins.slice(from).reduce((sum, [, count]) => sum + count, 0);

const svg = (tag, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

/* Places of bins on the axis: one for two bins; those of tiny magnitude share one; zero has none. */
const placesOf = (bins) => {
  const largest = Math.max(...bins.map(([bin]) => Math.abs(bin)));
  const smallest = largest - OCTAVES_SHOWN * BINS_PER_OCTAVE;
  return bins.map(([bin]) => (bin === 0 ? null : Math.sign(bin) * (Math.max(0, Math.floor((Math.abs(bin) - smallest) / 2)) + 1)));
};

explorer.histogram = (bins, images) => {
  const width = 640, height = 180, bottom = 24, places = placesOf(bins), counts = new Map();
  places.forEach((place, number) => { if (place !== null) counts.set(place, (counts.get(place) || 0) + bins[number][1]); });
  const shown = [...counts.keys()].sort((one, other) => one - other);
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  const zero = bins.filter(([bin]) => bin === 0).reduce((sum, [, count]) => sum + count, 0);
  const parts = [];
  if (shown.length) {
    const first = shown[0], slots = shown.at(-1) - first + 1, step = width / slots, most = Math.max(...counts.values());
    for (const place of shown) {
      const size = Math.max(2, (counts.get(place) / most) * (height - bottom - 8));
      const bar = svg("rect", { x: (place - first) * step, y: height - bottom - size, width: Math.max(1.5, step - 1), height: size });
      bar.dataset.place = place;
      chart.append(bar);
    }
    chart.append(svg("line", { x1: 0, x2: width, y1: height - bottom, y2: height - bottom }));
    const low = explorer.edge(bins[places.indexOf(first)][0]), high = explorer.edge(bins.at(-1)[0] + 1);
    chart.append(svg("text", { x: 0, y: height - 6 }, explorer.format(low)));
    chart.append(svg("text", { x: width, y: height - 6, "text-anchor": "end" }, explorer.format(high)));
    chart.append(svg("text", { x: width / 2, y: height - 6, "text-anchor": "middle" }, "activation, logarithmic"));
  }
  const start = bins.findLastIndex((_, number) => explorer.countFrom(bins, number) >= images / 10);  // the highest tenth
  const slider = explorer.element("input", { type: "range", min: 0, max: bins.length - 1, step: 1, value: start, id: "threshold" });
  const output = explorer.element("output", { for: "threshold", id: "exceed", "aria-live": "polite" });
  const update = () => {
    const from = Number(slider.value), bin = bins[from][0], over = explorer.countFrom(bins, from);
    const edge = explorer.edge(bin);
    output.textContent = `${bin < 0 ? "Above" : "At least"} ${explorer.format(edge)}: ${explorer.count(over)} of ${explorer.count(images)} images (${explorer.percent(over / images)})`;
    slider.setAttribute("aria-valuetext", output.textContent);
    for (const bar of chart.querySelectorAll("rect")) bar.classList.toggle("over", Number(bar.dataset.place) >= (places[from] ?? 0));
    chart.setAttribute("aria-label", `Histogram of the activation over ${explorer.count(images)} images. ${output.textContent}`);
  };
  slider.addEventListener("input", update);
  update();
  if (shown.length) parts.push(chart);
  parts.push(explorer.element("label", { for: "threshold" }, "Threshold "), slider, output);
  parts.push(explorer.element("p", { class: "note" }, `${explorer.count(zero)} image${zero === 1 ? "" : "s"} with exactly zero. Counts are exact; the threshold moves in steps of 4 %.`));
  return explorer.element("div", { class: "histogram" }, parts);
};
