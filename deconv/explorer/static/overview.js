"use strict";
/* The first channels of each layer, as a strip in the diagram of the network. */
for (const strip of document.querySelectorAll(".strip")) {
  const layer = explorer.site.layers.find((one) => one.page === strip.dataset.page);
  for (let channel = 0; channel < Math.min(24, layer.channels); channel += 1) {
    strip.append(explorer.thumbnail(layer, channel, 44));
  }
}
