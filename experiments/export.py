"""Write a trained policy as one file that runs without this library: see `ebgan_mdn_jax.export`.

python -m experiments.export --workdir=runs/mine --output=policy.bin --member=best
"""

from ebgan_mdn_jax import export, policy
from ebgan_mdn_jax.types import InputError, require, resolve_path
from experiments import flags

USED = (flags.WORKDIR, flags.OUTPUT, flags.MEMBER)


def main() -> None:
    """Restore, export, say what was written."""
    require(flags.WORKDIR.value is not None, "--workdir is missing: give the folder of a trained run")
    trained = policy.restore(flags.WORKDIR.value, flags.member())
    content, path = export.serialize(trained), resolve_path(flags.OUTPUT.value)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InputError(f"--output={path} cannot be written ({error.strerror}): give another file") from error
    spec = trained.spec
    print(
        f"{path}: {trained.method_name}, seed {trained.seed}; key [2] uint32, obs [B, {spec.obs_dim}] float32 -> "
        f"action [B, {spec.action_dim}] on {' and '.join(export.PLATFORMS)}; {len(content)} bytes"
    )


if __name__ == "__main__":
    flags.run(main, *USED)
