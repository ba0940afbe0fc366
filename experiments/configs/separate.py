"""Does the energy have to see the generator? The default EBGAN-MDN beside one whose energy is trained apart.

Command:  python -m experiments.sweep --config=separate
Seeds:    16 (0 to 15)
Settings: defaults with generators of 3 x 64; "separate" has an energy that sees no draws of the generator (alpha = 0) and has no say in
          its training (w = 0): an MDN reweighted by an energy of its own. Such an energy knows nothing outside the box of its negatives,
          so on the arm both get one that holds every label.
Expected: no published number.
Run time: about 25 minutes on one CPU core of two, the other busy.
"""

from experiments.configs.base import run_spec

_NARROW = "method.generator.hidden=(64,64,64)"
_SEPARATE = ("hyper.energy_weight=0", "hyper.alpha=0")
_BOX = {"inverse_sine": (), "two_link": ("method.negatives_box=1.5",)}

RUNS = tuple(
    run_spec(task, "ebgan_mdn", 16, _NARROW, *box, *overrides, variant=variant)
    for task, box in _BOX.items()
    for variant, overrides in (("", ()), ("separate", _SEPARATE))
)
