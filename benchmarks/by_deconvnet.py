"""Contestants of this package: its fast algorithms, which are the defaults, and its plain ones."""

import time

import numpy as np

from benchmarks import subjects
from benchmarks.workers import Contestant


class Projections(Contestant):
    """Projections within the receptive field of each unit, from cached forward passes; the results are patches."""

    windowed = patches = shared = True

    def __init__(self, subject):
        import deconv

        super().__init__(subject)
        self.net = deconv.Deconvnet(subjects.model_of(subject.name), windowed=self.windowed)

    def compute(self, case, setting):
        layer, which = case
        units = self.subject.chosen(layer, which)
        images, numbers = self.subject.images, units.numbers
        if not self.shared:
            images, numbers = images[numbers], None
        return self.net.project_units(
            images, layer, units.channels, units.positions, numbers=numbers, start="one", patches=self.patches
        )

    def result(self, case, found):
        if not self.patches:
            return found
        height, width, depth = self.subject.images.shape[1:]
        border = max(found.pictures.shape[1:3])  # a window extends beyond the image by less than its size
        whole = np.zeros((len(found.pictures), height + 2 * border, width + 2 * border, depth), np.float32)
        for picture, patch, (top, left, bottom, right) in zip(whole, *found, strict=True):
            picture[top + border : bottom + border, left + border : right + border] = patch
        return whole[:, border : border + height, border : border + width]


class OwnImages(Projections):
    """Same as `Projections`, but as if every unit were in an image of its own: no forward pass is shared."""

    shared = False


class WholePictures(Projections):
    """Same as `Projections`, but pasted into arrays of the image's size, which all other packages return."""

    patches = False


class PlainProjections(WholePictures):
    """The plain algorithm: whole activation maps at every layer."""

    windowed = False

    def once(self, case, setting):
        layer, which = case
        images = self.subject.images[np.unique(self.subject.chosen(layer, which).numbers)]
        start = time.perf_counter()
        self.net.record(images, layer)
        return time.perf_counter() - start


class Occlusion(Contestant):
    """Occlusion that recomputes only what the occluding patch changes."""

    exact = True

    def __init__(self, subject):
        super().__init__(subject)
        self.model = subjects.model_of(subject.name)

    def compute(self, case, setting):
        import deconv

        size, stride, fill = case
        image, target = self.subject.images[0], self.subject.target
        return deconv.occlusion_maps(self.model, image, target, size=size, stride=stride, fill=fill, exact=self.exact)

    def result(self, case, found):
        return found.probability


class PlainOcclusion(Occlusion):
    """The plain algorithm: a complete forward pass for every position of the patch."""

    exact = "full"


class Scan(Contestant):
    """`top_activations` of every layer with weights, in one pass."""

    batch_size = 64

    def __init__(self, subject):
        super().__init__(subject)
        self.model = subjects.model_of(subject.name)
        self.layers = [layer.name for layer in self.model.layers if layer.weights]

    def compute(self, case, setting):
        import deconv

        return deconv.top_activations(self.model, self.images(case), self.layers, k=9, batch_size=self.batch_size)

    def images(self, count):
        """`count` different images, made from the few available ones by shifts along the rows."""
        images = self.subject.images
        if not hasattr(self, "_many") or len(self._many) != count:
            shifts = range(-(-count // len(images)))
            self._many = np.concatenate([np.roll(images, 7 * shift, axis=2) for shift in shifts])[:count]
        return self._many

    def result(self, case, found):
        return np.concatenate([found[layer].values for layer in self.layers])


class BareForward(Scan):
    """The forward pass only: one compiled function and the same batches; only the predictions are returned."""

    def __init__(self, subject):
        import tensorflow as tf

        super().__init__(subject)
        signature = tf.TensorSpec((None, *self.model.input_shape[1:]), tf.float32)
        self.forward = tf.function(lambda images: self.model(images, training=False)).get_concrete_function(signature)

    def compute(self, case, setting):
        import tensorflow as tf

        images, size = self.images(case), self.batch_size
        starts = range(0, len(images), size)
        return np.concatenate([self.forward(tf.constant(images[at : at + size])).numpy() for at in starts])

    def result(self, case, found):
        """The same result as of `Scan`, computed independently with Keras and a sort."""
        import keras

        outputs = [self.model.get_layer(layer).output for layer in self.layers]
        images, size, maxima = self.images(case), self.batch_size, []
        everything = keras.Model(self.model.inputs, outputs)
        for at in range(0, len(images), size):
            maps = everything.predict_on_batch(images[at : at + size])
            maxima.append(np.concatenate([array.max(axis=tuple(range(1, array.ndim - 1))) for array in maps], axis=1))
        return -np.sort(-np.concatenate(maxima), axis=0)[:9].T


class Predict(BareForward):
    """`model.predict`."""

    def compute(self, case, setting):
        return self.model.predict(self.images(case), batch_size=self.batch_size, verbose=0)

    def result(self, case, found):
        return -np.sort(-found, axis=0)[:9].T


class Stream(Scan):
    """`top_activations` of images that are generated while they are read."""

    def images(self, count):
        import tensorflow as tf

        def made(number):
            return tf.random.stateless_normal(self.model.input_shape[1:], (0, number), stddev=spread)

        spread = float(self.subject.images.std())
        return tf.data.Dataset.range(count).map(made)


CONTESTANTS = {
    "projections: deconvnet": Projections,
    "projections: deconvnet, an image for each unit": OwnImages,
    "projections: deconvnet, whole pictures": WholePictures,
    "projections: deconvnet, windowed=False": PlainProjections,
    "occlusion: deconvnet": Occlusion,
    'occlusion: deconvnet, exact="full"': PlainOcclusion,
    "scan: top_activations": Scan,
    "scan: bare forward pass": BareForward,
    "scan: model.predict": Predict,
    "stream: top_activations": Stream,
}


def peak(size=4096, repeats=5):
    """Peak arithmetic rate: 10^9 operations a second in a large float32 matrix product, the best of `repeats`."""
    import tensorflow as tf

    matrix = tf.random.stateless_uniform((size, size), (0, 0))
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        tf.linalg.matmul(matrix, matrix)[0, 0].numpy()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds[1:]) / 1e9


def make_subject(**arguments):
    """See `subjects.make`."""
    return subjects.make(**arguments)
