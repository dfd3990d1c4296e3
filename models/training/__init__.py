"""Training that is repeatable bit for bit and can be resumed; shared by the scripts that train the networks.

`batches` makes the stream of examples, `state` saves what an interrupted run resumes from, `run_folder` manages the
folder of a run, `curve` draws its learning curve, and `loop.train` combines them. It takes `tf.data` datasets and a
compiled model, and does not depend on their origin.
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
