"""Cases of search_spaces/blocks/convolution.yaml: a block and the settings that it is tried with."""

BLOCKS = {
    "conv": ["", "kernel: 2"],
}
