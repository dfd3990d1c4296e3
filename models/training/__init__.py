"""Training that can be repeated bit for bit, and interrupted: shared by the scripts that train the networks.

`batches` is the stream of examples, `state` what an interrupted run goes on from, `run_folder` the folder a run
writes, `curve` its picture, and `loop.train` puts them together. It takes `tf.data` datasets and a compiled model,
and knows nothing of where either comes from.
"""

from models.training.batches import test_batches, training_batches
from models.training.loop import FIG4_EPOCHS, DivergedError, evaluate, make_repeatable, train
from models.training.run_folder import RunFolder, RunFolderError

__all__ = [
    "FIG4_EPOCHS",
    "DivergedError",
    "RunFolder",
    "RunFolderError",
    "evaluate",
    "make_repeatable",
    "test_batches",
    "train",
    "training_batches",
]
