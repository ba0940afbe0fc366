"""Figures from saved NumPy arrays: what a policy samples, its energy and density, its training curves, profiles over seeds.

The arrays of one run are a mapping: ``train_obs [rows, Do]``, ``train_action [rows, Da]``; ``obs [P, Do]`` where the policy was asked;
``samples [S, N, P, Da]`` of the first few members; and for one member, where its method has them, ``actions [Q, Da]`` with ``energy`` and
``log_prob [Q, P]``, and the mixture ``log_weights [P, K]``, ``means [P, K, Da]`` with ``scales [P, K, Da]`` or
``scale_trils [P, K, Da, Da]``. Two geometries are drawn, see `geometry`; of other shapes there are no ``actions`` to draw over. Tasks of
arms add what `arms_figure` needs, handwriting what `drawings_figure` does; `chunks_figure` is of chunks of planar positions,
`episodes_figure` of frames of a simulator.

Functions return a `matplotlib.figure.Figure`, which belongs to no window and no global state; `png` renders it. Matplotlib is imported
when a function is called, JAX never.
"""

from ebgan_mdn_jax.plotting.arms import arms_figure
from ebgan_mdn_jax.plotting.canvas import MAX_POINTS, geometry, png
from ebgan_mdn_jax.plotting.chunks import chunks_figure
from ebgan_mdn_jax.plotting.curves import curves_figure
from ebgan_mdn_jax.plotting.drawings import drawings_figure
from ebgan_mdn_jax.plotting.episodes import episodes_figure
from ebgan_mdn_jax.plotting.landscape import NATS_SHOWN, landscape_figure
from ebgan_mdn_jax.plotting.profiles import Profile, profiles_figure
from ebgan_mdn_jax.plotting.samples import Samples, samples_figure
from ebgan_mdn_jax.plotting.sweeps import Band, Panel, bands_figure, scatter_figure

__all__ = [
    "MAX_POINTS",
    "NATS_SHOWN",
    "Band",
    "Panel",
    "Profile",
    "Samples",
    "arms_figure",
    "bands_figure",
    "chunks_figure",
    "curves_figure",
    "drawings_figure",
    "episodes_figure",
    "geometry",
    "landscape_figure",
    "png",
    "profiles_figure",
    "samples_figure",
    "scatter_figure",
]
