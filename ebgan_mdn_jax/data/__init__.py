"""Data sets: TFDS builders (array_record, read without TensorFlow), `load` and `from_episodes`, which give arrays ready for training."""

from ebgan_mdn_jax.data.episodes import best_by_return, from_episodes
from ebgan_mdn_jax.data.load import Dataset, add_noise, cache_dir, load
from ebgan_mdn_jax.data.windows import Episode

__all__ = ["Dataset", "Episode", "add_noise", "best_by_return", "cache_dir", "from_episodes", "load"]
