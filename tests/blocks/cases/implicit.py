"""Cases of search_spaces/blocks/implicit.yaml: a block and the settings that it is tried with."""

BLOCKS = {
    "fixed_point": ["", "solver: iterate, tolerance: 1e-6, steps: 60"],
    "deq": ["", "expand: 1, damping: 0.3, solver: iterate"],
}
