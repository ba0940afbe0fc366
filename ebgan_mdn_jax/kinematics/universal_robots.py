r"""UR5 and UR10: forward kinematics, and all solutions of the inverse in closed form.

Denavit-Hartenberg frames :math:`T_{i-1,i} = R_z(\theta_i)\, T_z(d_i)\, T_x(a_i)\, R_x(\alpha_i)` with the manufacturer's parameters (as
in Hawkins 2013, "Analytic inverse kinematics for the Universal Robots UR-5/UR-10 arms"). With :math:`x_1 = (c_1, s_1, 0)`,
:math:`y_1 = (0, 0, 1)`, :math:`z_1 = (s_1, -c_1, 0)` and :math:`\psi = \theta_2 + \theta_3 + \theta_4`, the tool is at

.. math:: p = d_1 y_1 + a_2 (c_2 x_1 + s_2 y_1) + a_3 (c_{23} x_1 + s_{23} y_1) + d_4 z_1 + d_5 (s_\psi x_1 - c_\psi y_1) + d_6 z_6

from which `inverse` takes the joints one by one: shoulder (2 solutions), wrist (2), elbow (2), up to 8 in all. Lengths in metres, angles in
radians. Everything is elementwise, so a GPU rounds no product to TF32, and works on any leading shape ``[...]``.
"""

from typing import NamedTuple

import jax.numpy as jnp

from ebgan_mdn_jax.types import Array

NUM_SOLUTIONS = 8
_SIN_TWIST = (1, 0, 0, 1, -1, 0)  # of alpha, in quarter turns, so exact
_COS_TWIST = (0, 1, 1, 0, 0, 1)


class Arm(NamedTuple):
    """Offsets ``d`` along and lengths ``a`` between the joint axes, in metres."""

    d: tuple[float, ...]
    a: tuple[float, ...]


class Pose(NamedTuple):
    """Where the tool is: ``position [..., 3]`` and ``rotation [..., 3, 3]``, whose columns are the tool's axes."""

    position: Array
    rotation: Array


UR5 = Arm(d=(0.089159, 0.0, 0.0, 0.10915, 0.09465, 0.0823), a=(0.0, -0.425, -0.39225, 0.0, 0.0, 0.0))
# The parameters that EBGAN-MDN's "UR5" has.
UR10 = Arm(d=(0.1273, 0.0, 0.0, 0.163941, 0.1157, 0.0922), a=(0.0, -0.612, -0.5723, 0.0, 0.0, 0.0))


def forward(arm: Arm, joints: Array) -> Pose:
    """The tool's pose at ``joints [..., 6]``."""
    origins, axes = _frames(arm, joints)
    return Pose(origins[-1], jnp.stack(axes, axis=-1))


def links(arm: Arm, joints: Array) -> Array:
    """Positions ``[..., 7, 3]`` of the base and of the origins of the six frames, the tool the last one, at ``joints [..., 6]``."""
    return jnp.stack(_frames(arm, joints)[0], axis=-2)


def inverse(arm: Arm, pose: Pose) -> tuple[Array, Array]:
    """All joint settings ``[8, ..., 6]`` in (-pi, pi] that bring the tool to ``pose``, and which of them exist, ``[8, ...]``.

    Where a solution does not exist its joints are some finite numbers. At a singularity solutions coincide; where the wrist is straight
    (sin theta_5 = 0) only the sum of the axes that then are parallel is determined, and one solution of the continuum is returned.
    """
    # One leading axis for the solutions from the start: 8 branches of code would take half a minute to compile.
    position, rotation = (jnp.broadcast_to(part, (NUM_SOLUTIONS, *part.shape)) for part in pose)
    signs = jnp.stack(jnp.meshgrid(*3 * [jnp.asarray([1.0, -1.0], position.dtype)], indexing="ij")).reshape(3, 8)
    lead = position.shape[:-1]
    shoulder, flip, elbow = jnp.broadcast_to(signs.reshape(3, 8, *(1,) * (len(lead) - 1)), (3, *lead))

    wrist = position - arm.d[5] * rotation[..., 2]
    distance = jnp.hypot(wrist[..., 0], wrist[..., 1])
    reaches_axis = distance >= arm.d[3]
    along = _root(distance**2 - arm.d[3] ** 2, reaches_axis)
    theta_1 = jnp.arctan2(wrist[..., 1], wrist[..., 0]) + jnp.arctan2(arm.d[3], shoulder * along)

    c1, s1 = jnp.cos(theta_1), jnp.sin(theta_1)
    # Components of the tool's axes along x_1 and z_1, [..., 3]; along y_1 they are the last row of the rotation.
    on_x = c1[..., None] * rotation[..., 0, :] + s1[..., None] * rotation[..., 1, :]
    on_z = s1[..., None] * rotation[..., 0, :] - c1[..., None] * rotation[..., 1, :]
    theta_5 = jnp.arctan2(flip * jnp.hypot(on_x[..., 2], rotation[..., 2, 2]), on_z[..., 2])
    theta_6 = jnp.arctan2(-flip * on_z[..., 1], flip * on_z[..., 0])

    # The axis y_5 = s_6 x_6 + c_6 y_6 is (-sin psi, cos psi) in the plane of x_1 and y_1.
    c6, s6 = jnp.cos(theta_6), jnp.sin(theta_6)
    sin_psi = -(s6 * on_x[..., 0] + c6 * on_x[..., 1])
    cos_psi = s6 * rotation[..., 2, 0] + c6 * rotation[..., 2, 1]

    # (u, v) in that plane is what the two long links have to span.
    u = c1 * wrist[..., 0] + s1 * wrist[..., 1] - arm.d[4] * sin_psi
    v = wrist[..., 2] - arm.d[0] + arm.d[4] * cos_psi
    cosine = (u**2 + v**2 - arm.a[1] ** 2 - arm.a[2] ** 2) / (2 * arm.a[1] * arm.a[2])
    spans = jnp.abs(cosine) <= 1.0
    cosine = jnp.where(spans, cosine, 0.0)
    sine = elbow * _root(1.0 - cosine**2, spans)
    theta_3 = jnp.arctan2(sine, cosine)
    theta_2 = jnp.arctan2(v, u) - jnp.arctan2(arm.a[2] * sine, arm.a[1] + arm.a[2] * cosine)
    theta_4 = jnp.arctan2(sin_psi, cos_psi) - theta_2 - theta_3
    joints = jnp.stack([theta_1, theta_2, theta_3, theta_4, theta_5, theta_6], axis=-1)
    return wrap(joints), reaches_axis & spans


def wrap(angle: Array) -> Array:
    """The same angles in (-pi, pi]."""
    angle = jnp.arctan2(jnp.sin(angle), jnp.cos(angle))
    return jnp.where(angle <= -jnp.pi, -angle, angle)


def _frames(arm: Arm, joints: Array) -> tuple[list[Array], tuple[Array, Array, Array]]:
    """Origins of base and frames, and the last one's axes, all ``[..., 3]``."""
    x, y, z = (jnp.broadcast_to(axis, (*joints.shape[:-1], 3)) for axis in jnp.eye(3, dtype=joints.dtype))
    origins = [jnp.zeros_like(x)]
    for i in range(6):
        c, s = jnp.cos(joints[..., i, None]), jnp.sin(joints[..., i, None])
        x, y = c * x + s * y, c * y - s * x
        origins.append(origins[-1] + arm.d[i] * z + arm.a[i] * x)
        y, z = _COS_TWIST[i] * y + _SIN_TWIST[i] * z, _COS_TWIST[i] * z - _SIN_TWIST[i] * y
    return origins, (x, y, z)


def _root(square: Array, exists: Array) -> Array:
    """Square root where it ``exists``, else 1: gradients stay finite there."""
    return jnp.sqrt(jnp.where(exists, jnp.maximum(square, 0.0), 1.0))
