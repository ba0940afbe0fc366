"""Settings of all tests: strict shapes, a persistent compilation cache, one CPU device unless a test starts its own processes."""

import gc
import itertools
import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiling is most of what tests do; LLVM's third level takes twice as long as its second on programs that draw random numbers.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=2")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
# Tests compile the same small programs again and again; a second run takes them from here.
_cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(_cache) / "ebgan_mdn_jax" / "xla"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
_tests = itertools.count()  # that this process has run


@pytest.fixture(autouse=True)
def _few_programs():
    """Each compiled program holds three or so memory maps. Linux allows 65,530 to a process (``vm.max_map_count``) and one that asks for
    more dies of a segmentation fault, so a process that is halfway there lets its programs go. Asked after every 16th test.
    """
    yield
    maps = pathlib.Path("/proc/self/maps")  # Linux only
    if next(_tests) % 16 == 0 and maps.exists() and maps.read_bytes().count(b"\n") > 30_000:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """One folder for the synthetic data sets of a whole test run."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def recordings():
    """The folder of real recordings: ``$EBGAN_MDN_JAX_DATA``, or ``shared/data`` beside the checkout."""
    beside = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
    path = pathlib.Path(os.environ.get("EBGAN_MDN_JAX_DATA", beside))
    if not path.is_dir():
        pytest.skip(f"no recordings at {path}; set EBGAN_MDN_JAX_DATA to a folder that holds geyser/geyser.csv")
    return path


# tests/multidevice needs 4 devices; tests/test_multidevice.py starts it in a process that has them.
collect_ignore = [] if os.environ.get("JAX_NUM_CPU_DEVICES") == "4" else ["multidevice"]
