"""Cases of search_spaces/blocks/convolution.yaml: a block and the settings that it is tried with."""

BLOCKS = {
    "conv": ["", "kernel: 2"],
    "long_conv": ["", "length: 8, squash: 0.0"],
    "hyena": ["", "length: 8, kernel: 4, hidden: 6, bands: 3, frequency: 5.0"],
}
