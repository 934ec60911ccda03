"""Cases of search_spaces/blocks/perceptron.yaml: a block and the settings that it is tried with."""

BLOCKS = {
    "gated_mlp": ["", "expand: 1, activation: gelu", "hidden: 5, activation: sigmoid"],
}
