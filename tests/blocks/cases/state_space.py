"""Cases of search_spaces/blocks/state_space.yaml: a block and the settings that it is tried with."""

BLOCKS = {
    "s4d": ["", "state: 3, frequencies: inverse"],
    "s5": ["", "state: 4, blocks: 2"],
    "mamba": ["", "state: 4, expand: 1.5, rank: 2, eigenvalues: signed"],
    "mamba2": ["", "state: 4, heads: 2, kernel: 2, eigenvalues: signed"],
}
