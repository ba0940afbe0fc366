"""Checkpoints come back bit for bit, and wrong or damaged ones are refused in one line."""

import functools

import chex
import jax
import numpy as np
import pytest

from ebgan_mdn_jax.methods import ebgan_mdn, mdn
from ebgan_mdn_jax.training import checkpoint, members
from ebgan_mdn_jax.types import Horizon, InputError, Spec

SPEC = Spec((-1.0,), (1.0,), (-1.0,), (1.0,))
DEVICE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


def states_of(module=mdn, num_seeds=2):
    method = module.make(module.Config(), SPEC, Horizon(10, 1))
    return members.init_states(method, np.arange(num_seeds, dtype=np.int32))


def abstract_of(module=mdn, num_seeds=2):
    return jax.eval_shape(functools.partial(states_of, module, num_seeds))


@pytest.fixture
def saved(tmp_path):
    """A folder with checkpoints of two members at steps 3 and 6."""
    with checkpoint.open_manager(tmp_path) as manager:
        for step in (3, 6):
            checkpoint.save(manager, step, states_of(), {"note": step})
    return tmp_path


def test_round_trip_is_bitwise_and_the_newest_wins(saved):
    with checkpoint.open_manager(saved) as manager:
        assert checkpoint.restore_config(manager) == (6, {"note": 6})
        restored = checkpoint.restore_states(manager, 6, abstract_of(), DEVICE)
        params = checkpoint.restore_params(manager, 6, abstract_of(), DEVICE)
    expected = states_of()
    assert type(restored) is type(expected)
    chex.assert_trees_all_equal(restored.train.params, expected.train.params)
    chex.assert_trees_all_equal(params, expected.train.params)
    chex.assert_trees_all_equal(restored.train.opt_state, expected.train.opt_state)
    np.testing.assert_array_equal(jax.random.key_data(restored.train.key), jax.random.key_data(expected.train.key))


def test_params_alone_suffice_for_evaluation(saved):
    """Evaluation reads the item ``params`` only: the rest of the state may be gone."""
    import shutil

    shutil.rmtree(saved / "6" / "rest")
    with checkpoint.open_manager(saved) as manager:
        params = checkpoint.restore_params(manager, 6, abstract_of(), DEVICE)
    chex.assert_trees_all_equal(params, states_of().train.params)


@pytest.mark.parametrize(
    ("abstract", "what"), [(lambda: abstract_of(ebgan_mdn), "alpha"), (lambda: abstract_of(mdn, 3), "generator/params")]
)
def test_another_method_or_number_of_members_is_refused(saved, abstract, what):
    with checkpoint.open_manager(saved) as manager, pytest.raises(InputError, match=what) as error:
        checkpoint.restore_params(manager, 6, abstract(), DEVICE)
    assert "another method, config or number of members" in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_saved_is_said(tmp_path):
    with (
        checkpoint.open_manager(tmp_path) as manager,
        pytest.raises(InputError, match="no checkpoint in .*: train first"),
    ):
        checkpoint.restore_config(manager)


def test_a_changed_number_is_noticed(saved):
    """A config that is still JSON, and a byte of an array, which Orbax itself reads as another number."""
    for item, change in (("config/metadata", lambda content: content.replace(b"6", b"7")), ("params/d", None)):
        places = [saved / "6" / item] if change else sorted((saved / "6" / item).iterdir())
        place = max(places, key=lambda path: path.stat().st_size)
        content = bytearray(place.read_bytes())
        content[len(content) // 2] ^= 1
        place.write_bytes(change(place.read_bytes()) if change else content)
        with checkpoint.open_manager(saved) as manager, pytest.raises(InputError, match="cannot be read") as error:
            if change:
                checkpoint.restore_config(manager)
            else:
                checkpoint.restore_params(manager, 6, abstract_of(), DEVICE)
        assert "\n" not in str(error.value)


def test_damaged_files_are_one_clear_line(saved):
    for file in (saved / "6" / "params").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (saved / "6" / "config" / "metadata").write_text("{ not json")
    with checkpoint.open_manager(saved) as manager:
        for restore in (
            lambda: checkpoint.restore_config(manager),
            lambda: checkpoint.restore_params(manager, 6, abstract_of(), DEVICE),
        ):
            with pytest.raises(InputError, match="cannot be read") as error:
                restore()
            assert "\n" not in str(error.value)
