"""How samples and densities are judged; everything but `statistics` is jittable and maps over members."""
