"""What has been compiled for a model is kept for the next call; a model that is gone takes it along."""

import weakref

import keras

_KEPT = weakref.WeakKeyDictionary()


def kept(model, key, make):
    """What `make()` returns, made once for a model and a key.

    What is kept follows when the model is trained, for it reads the model's own weights; it does not follow when the
    model's layers are given other activations.

    Args:
        model: A `keras.Model`. What is made may refer to its layers, not to the model itself: that would keep it alive.
            Anything else is not kept, so that `make` can refuse it.
        key: Anything hashable.
        make: Function of nothing. If it fails, nothing is kept.
    """
    if not isinstance(model, keras.Model):
        return make()
    known = _KEPT.setdefault(model, {})
    if key not in known:
        known[key] = make()
    return known[key]
