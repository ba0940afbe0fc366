"""The TFDS builder. Imported only where data are read: TensorFlow Datasets is slow to import; TensorFlow itself is never needed."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow_datasets as tfds

from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.types import Batch


@dataclasses.dataclass
class DemonstrationsConfig(tfds.core.BuilderConfig):
    """Which task the rows belong to."""

    task: str = "hyperbola"


class Demonstrations(tfds.core.GeneratorBasedBuilder):
    """Demonstrations of one task: observations and actions, in the order they were generated or recorded."""

    VERSION = tfds.core.Version("1.0.0")
    url_infos = {}  # `load` downloads; unset, TFDS looks for a checksum file, for which it needs one more package

    def __init__(self, *, make_splits: Callable[[], dict[str, Batch]], **kwargs):
        self._make_splits = make_splits
        super().__init__(**kwargs)

    def _info(self):
        spec = TASKS[self.builder_config.task].spec
        features = {
            "obs": tfds.features.Tensor(shape=(spec.obs_dim,), dtype=np.float32),
            "action": tfds.features.Tensor(shape=(spec.action_dim,), dtype=np.float32),
        }
        # Rows keep their order: folds are cut by position.
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(batch) for name, batch in self._make_splits().items()}

    def _generate_examples(self, batch):
        for index, (obs, action) in enumerate(zip(*(np.asarray(x, np.float32) for x in batch), strict=True)):
            yield index, {"obs": obs, "action": action}
