"""Data sets: TFDS builders (array_record, read without TensorFlow) and `load`, which gives arrays ready for training."""

from ebgan_mdn_jax.data.load import Dataset, add_noise, cache_dir, load

__all__ = ["Dataset", "add_noise", "cache_dir", "load"]
