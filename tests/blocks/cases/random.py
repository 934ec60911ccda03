"""Cases of search_spaces/blocks/random.yaml: a block and the settings that it is tried with."""

BLOCKS = {
    "reservoir": ["", "expand: 1.5, radius: 0.5, leak: 1.0"],
    "random_mlp": ["", "kind: relu, expand: 1"],
}
