"""Which devices hold which members and which rows of a minibatch, and how arrays get there and back."""

from typing import Literal, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ebgan_mdn_jax.types import PyTree, require

Parallel = Literal["seeds", "shard_map", "pmap"]


class Layout(NamedTuple):
    """A mesh with the axes "member" and "batch": members are spread over the first, each minibatch over the second.

    ``parallel`` says how: "seeds" spreads members alone, "shard_map" may do both, "pmap" splits minibatches by `jax.pmap`.
    """

    mesh: Mesh
    parallel: Parallel

    @property
    def member_devices(self) -> int:
        """Devices along the axis that members are spread over."""
        return self.mesh.shape["member"]

    @property
    def batch_devices(self) -> int:
        """Devices that share a minibatch."""
        return self.mesh.shape["batch"]

    @property
    def devices(self) -> list[jax.Device]:
        """All devices."""
        return list(self.mesh.devices.flat)

    @property
    def members(self) -> NamedSharding:
        """Sharding of arrays with leading axis S."""
        return NamedSharding(self.mesh, P("member"))

    @property
    def everywhere(self) -> NamedSharding:
        """Sharding of what every device holds."""
        return NamedSharding(self.mesh, P())


def make_layout(
    devices: list[jax.Device] | None = None, parallel: Parallel = "seeds", batch_devices: int = 0
) -> Layout:
    """Lay out ``devices`` (default the first one).

    Args:
      devices: of all processes together, where there are several.
      parallel: see `Layout`.
      batch_devices: how many of them share each minibatch; 0 takes one for "seeds" and all for the others. The rest of the devices
        are other members' ("shard_map" only).

    Raises:
      InputError: if they do not divide evenly, or ``parallel`` cannot split like that.
    """
    devices = list(devices or jax.devices()[:1])
    sharing = batch_devices or (1 if parallel == "seeds" else len(devices))
    require(
        parallel == "shard_map" or sharing == (1 if parallel == "seeds" else len(devices)),
        f"train.batch_devices={sharing} with train.parallel={parallel}: only shard_map spreads members and minibatches at once",
    )
    require(
        len(devices) % sharing == 0,
        f"train.batch_devices={sharing} does not divide {len(devices)} devices: use a divisor, or another --num_devices",
    )
    require(
        parallel != "pmap" or jax.process_count() == 1,
        "train.parallel=pmap runs in one process: use shard_map in several",
    )
    auto = (jax.sharding.AxisType.Auto,) * 2
    mesh = jax.make_mesh((len(devices) // sharing, sharing), ("member", "batch"), axis_types=auto, devices=devices)
    return Layout(mesh, parallel)


def place(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Put NumPy leaves, the same in every process, on devices."""

    def put(leaf):
        leaf = np.asarray(leaf)
        return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])

    return jax.tree.map(put, tree)


def fetch(tree: PyTree) -> PyTree:
    """NumPy copies of arrays, whole in every process."""
    if all(leaf.is_fully_addressable for leaf in jax.tree.leaves(tree)):
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)
