"""Fig. 7: occlusion sensitivity, all panels from one pass over the positions of the square."""

import numpy as np

from deconv.figures.record import Picture
from deconv.occlusion import occlusion_maps
from deconv.plotting import occlusion_sheet, pixels
from deconv.projection import Deconvnet


def occlusion_pictures(subject):
    if not subject.filters():
        return
    layer = subject.filters()[-1]
    images, labels, ids = subject.examples()
    size = subject.square
    stride = subject.stride
    options = {"layer": layer, "size": size, "stride": stride, "fill": subject.fill, "preprocess": subject.preprocess}
    targets = subject.targets(labels)
    found = [
        occlusion_maps(subject.model, image, target, **options) for image, target in zip(images, targets, strict=True)
    ]
    strange = sum(target is None for target in targets)
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
        + (
            f" Of {strange} of the {len(images)} images the network does not know the class; (d) is then the "
            "probability of the class that it finds most probable in the uncovered image."
            if strange
            else ""
        )
    )
    truth = [subject.data.class_names[label] for label in labels]
    names = [
        name if target is not None else f"{name}?\nit says: {subject.class_names[maps.target]}"
        for name, target, maps in zip(truth, targets, found, strict=True)
    ]
    figure = occlusion_sheet(pixels(images), found, subject.shown(projections), names, subject.class_names, title)
    numbers = {"layer": layer, "stride": stride, "fill": subject.fill, "image_ids": ids, "labels": labels}
    numbers["images"] = [maps._asdict() for maps in found]
    yield Picture("fig7_occlusion", title, caption, figure, numbers)
