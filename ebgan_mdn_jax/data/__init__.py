"""Data sets: TFDS builders (array_record, read without TensorFlow), `load` and `from_episodes`, which give arrays ready for training."""

from ebgan_mdn_jax.data.episodes import from_episodes
from ebgan_mdn_jax.data.load import Dataset, add_noise, cache_dir, load

__all__ = ["Dataset", "add_noise", "cache_dir", "from_episodes", "load"]
