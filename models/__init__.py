"""Network architectures, in the manner of `keras.applications`.

Each network is a function that returns a `keras.Model`; the module of the same name holds what belongs to it:

    import models

    model = models.LeNet5(weights="mnist")
    images = models.lenet5.preprocess_input(pixels)
    models.lenet5.decode_predictions(model.predict(images))

This package does not depend on `deconv`: `deconv` works with any Keras model, and these networks without `deconv`.
"""

# ruff: noqa: E402
from models import keras_backend

keras_backend.check()  # must precede the definition of layers

from models import alexnet, alexnet_owt, efficientnet_lite0, imgclsmob, lenet5, vgg16, zfnet, zfnet512
from models.alexnet import AlexNet
from models.alexnet_owt import AlexNetOWT
from models.efficientnet_lite0 import EfficientNetLite0
from models.lenet5 import LeNet5
from models.vgg16 import VGG16
from models.zfnet import ZFNet
from models.zfnet512 import ZFNet512

__all__ = [
    "VGG16",
    "AlexNet",
    "AlexNetOWT",
    "EfficientNetLite0",
    "LeNet5",
    "ZFNet",
    "ZFNet512",
    "alexnet",
    "alexnet_owt",
    "efficientnet_lite0",
    "imgclsmob",
    "lenet5",
    "vgg16",
    "zfnet",
    "zfnet512",
]
