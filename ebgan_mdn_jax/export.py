"""A trained policy as one file that runs without this library: StableHLO for CPU and CUDA, parameters inside, any number of observations.

What is written is what `jax.export.deserialize` reads, so that JAX and flatbuffers are all that is needed to act:

    policy = jax.export.deserialize(open("policy.bin", "rb").read())
    action = policy.call(np.asarray([0, 7], np.uint32), obs)  # obs [B, Do] float32 -> [B, Da], in data units

Actions are the checkpoint's up to rounding, which can tip what a search chooses (`ibc`, whose rows are then searched one after another).
The first argument is `jax.random.key_data` of a key; ``[0, 7]`` is that of ``jax.random.key(7)``.
"""

import importlib.util
from collections.abc import Sequence

import jax
import jax.export
import numpy as np

from ebgan_mdn_jax.policy import Trained
from ebgan_mdn_jax.types import require

PLATFORMS = ("cpu", "cuda")


def serialize(trained: Trained, platforms: Sequence[str] = PLATFORMS) -> bytes:
    """The file's content.

    Raises:
      InputError: if flatbuffers is not installed.
    """
    require(
        importlib.util.find_spec("flatbuffers") is not None,
        "export needs flatbuffers, which is not installed: pip install 'ebgan_mdn_jax[export]'",
    )

    def act(key_data, obs):
        key = jax.random.wrap_key_data(key_data, impl="threefry2x32")
        return trained.method.act(key, trained.params, obs)

    (batch,) = jax.export.symbolic_shape("batch")
    arguments = (
        jax.ShapeDtypeStruct((2,), np.uint32),
        jax.ShapeDtypeStruct((batch, trained.spec.obs_dim), np.float32),
    )
    return bytes(jax.export.export(jax.jit(act), platforms=tuple(platforms))(*arguments).serialize())
