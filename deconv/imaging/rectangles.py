"""Which pixels lie in rectangles, and what takes their place."""

import numpy as np

from deconv.runtime.dtypes import as_dtype


def hide(images, rectangles, fill=0.0):
    """Images `(n, height, width, channels)` with a rectangle each, ints `(n, 4)`, set to `fill`; their dtype stays."""
    top, left, bottom, right = np.asarray(rectangles).T[..., None]
    row, column = np.arange(images.shape[1]), np.arange(images.shape[2])
    rows, columns = (row >= top) & (row < bottom), (column >= left) & (column < right)
    fill = as_dtype("fill", fill, images.dtype)
    return np.where((rows[:, :, None] & columns[:, None, :])[..., None], fill, images)


def cover(image, tops, lefts, size, fill):
    """The image once for each square, covered there."""
    rows = covers(tops, size[0], image.shape[0])
    columns = covers(lefts, size[1], image.shape[1])
    return np.where((rows[:, :, None] & columns[:, None, :])[..., None], fill, image)


def covers(places, size, length):
    """`(positions, length)` bools: which pixels of an axis each position covers."""
    pixel = np.arange(length)
    return (pixel >= places[:, None]) & (pixel < places[:, None] + size)


def insides(windows, size):
    """Bools `(n, height, width)`, the pixels that lie in each window `(top, left, bottom, right)`."""
    top, left, bottom, right = (side[:, None] for side in windows.T)
    rows, columns = np.arange(size[0]), np.arange(size[1])
    return ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]
