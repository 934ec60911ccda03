"""Cases of search_spaces/blocks/state_space.yaml: a block and the settings that it is tried with."""

BLOCKS = {
    "s4d": ["", "state: 3, frequencies: inverse"],
}
