"""Fig. 7: occlusion sensitivity, all panels from one pass over the positions of the square."""

import numpy as np

from deconv.figures.record import Picture
from deconv.occlusion import occlusion_maps
from deconv.plotting import occlusion_sheet, pixels, signed
from deconv.projection import Deconvnet


def occlusion_pictures(subject):
    if not subject.filters():
        return
    layer = subject.filters()[-1]
    images, labels, ids = subject.examples()
    size = subject.square
    stride = max(1, size // 8)
    options = {"layer": layer, "size": size, "stride": stride, "fill": subject.fill, "preprocess": subject.preprocess}
    found = [
        occlusion_maps(subject.model, image, int(label), **options) for image, label in zip(images, labels, strict=True)
    ]
    net = Deconvnet(subject.model)
    inputs = subject.preprocess(images)
    projections = np.concatenate(
        [net.project(inputs[n : n + 1], layer, maps.channel, unit="map") for n, maps in enumerate(found)]
    )
    title = f"Occlusion sensitivity of {subject.model.name}: a {size}×{size} square, stride {stride}"
    caption = (
        f"After the paper's Fig. 7. A square of value {subject.fill:g} covers each place of the image in turn; maps "
        "show, at the middle of the square, what the network then says. (b) total activation of the map of "
        f"{layer} that is strongest in the uncovered image, as a ratio; beside it that map projected down (grey is "
        "zero). (d) probability of the true class. (e) most probable class. The red frame is where (d) is lowest."
    )
    figure = occlusion_sheet(pixels(images), found, signed(projections), subject.data.class_names, title)
    numbers = {"layer": layer, "stride": stride, "fill": subject.fill, "image_ids": ids, "labels": labels}
    numbers["images"] = [maps._asdict() for maps in found]
    yield Picture("fig7_occlusion", title, caption, figure, numbers)
