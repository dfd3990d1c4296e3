"""Write a network of tf2cv with random weights, and its outputs. Run by `test_imgclsmob` in an environment of its own.

    python tf2cv_networks.py NAME FOLDER

writes FOLDER/NAME.h5, as `save_weights` of legacy Keras writes it, FOLDER/inputs.npy and FOLDER/NAME.npy.
"""

import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
from tf2cv.models import alexnet, zfnet

name, folder = sys.argv[1], Path(sys.argv[2])
tf.random.set_seed(0)
network = {"alexnet": alexnet.alexnet, "zfnet": zfnet.zfnet, "zfnetb": zfnet.zfnetb}[name]()
network.build((1, 224, 224, 3))
random = np.random.default_rng(0)
for weight in network.weights:
    spread = np.sqrt(2 / np.prod(weight.shape[:-1])) if len(weight.shape) > 1 else 0.1
    weight.assign(random.standard_normal(weight.shape, dtype=np.float32) * np.float32(spread))
network.save_weights(folder / f"{name}.h5")
inputs = random.standard_normal((2, 224, 224, 3), dtype=np.float32)
np.save(folder / "inputs.npy", inputs)
np.save(folder / f"{name}.npy", network(inputs).numpy())
