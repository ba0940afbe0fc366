"""TFDS builders. Imported only where data are read, since TensorFlow Datasets is slow to import; TensorFlow itself is never needed."""

import dataclasses
import pathlib

import jax
import numpy as np
import tensorflow_datasets as tfds

from ebgan_mdn_jax.data import geyser
from ebgan_mdn_jax.tasks import TASKS
from ebgan_mdn_jax.types import Spec

NUM_HELDOUT = 500


def _info(builder: tfds.core.DatasetBuilder, spec: Spec, **fields) -> tfds.core.DatasetInfo:
    features = {
        "obs": tfds.features.Tensor(shape=(spec.obs_dim,), dtype=np.float32),
        "action": tfds.features.Tensor(shape=(spec.action_dim,), dtype=np.float32),
    }
    # Rows keep the order they were generated in: folds are cut by position.
    return tfds.core.DatasetInfo(
        builder=builder, features=tfds.features.FeaturesDict(features), disable_shuffling=True, **fields
    )


@dataclasses.dataclass
class MultivaluedConfig(tfds.core.BuilderConfig):
    """Which synthetic task, and how many demonstrations of it."""

    task: str = "hyperbola"
    num_demonstrations: int = 500


class Multivalued(tfds.core.GeneratorBasedBuilder):
    """Demonstrations of a synthetic task: "train" from seed 0 and 500 "heldout" rows from seed 1."""

    VERSION = tfds.core.Version("1.0.0")
    url_infos = {}  # nothing to download; unset, TFDS looks for a checksum file, for which it needs one more package

    def _info(self):
        return _info(self, TASKS[self.builder_config.task].spec)

    def _split_generators(self, dl_manager):
        num = self.builder_config.num_demonstrations
        return {"train": self._generate_examples(0, num), "heldout": self._generate_examples(1, NUM_HELDOUT)}

    def _generate_examples(self, seed, num):
        batch = TASKS[self.builder_config.task].demonstrations(jax.random.key(seed), num)
        obs, action = (np.asarray(x, np.float32) for x in batch)
        for index in range(num):
            yield index, {"obs": obs[index], "action": action[index]}


class Geyser(tfds.core.GeneratorBasedBuilder):
    """Old Faithful: waiting time (minutes) to duration of the eruption (minutes); one split "recording" in the recorded order.

    Reads the user's copy in ``download_config.manual_dir`` if one is given, and downloads otherwise.
    """

    VERSION = tfds.core.Version("1.0.0")
    url_infos = {
        geyser.URL: tfds.download.checksums.UrlInfo(
            size=geyser.URL_BYTES, checksum=geyser.URL_SHA256, filename=geyser.URL.rsplit("/", 1)[1]
        )
    }

    def __init__(self, *, local: pathlib.Path | None = None, **kwargs):
        self._local = local
        super().__init__(**kwargs)

    def _info(self):
        return _info(
            self,
            TASKS["geyser"].spec,
            citation="A. Azzalini and A. W. Bowman (1990), A look at some data on the Old Faithful geyser, "
            "Applied Statistics 39, 357-365",
        )

    def _split_generators(self, dl_manager):
        if self._local is not None:
            return {"recording": self._generate_examples(self._local.read_text(), str(self._local))}
        archive = dl_manager.download(geyser.URL)
        return {"recording": self._generate_examples(geyser.read_archive(archive), geyser.URL)}

    def _generate_examples(self, text, name):
        for index, (waiting, duration) in enumerate(geyser.parse(text, name).astype(np.float32)):
            yield index, {"obs": np.asarray([waiting]), "action": np.asarray([duration])}
