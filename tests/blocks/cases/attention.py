"""Cases of search_spaces/blocks/attention.yaml: a block and the settings that it is tried with."""

BLOCKS = {
    "attention": ["", "heads: 2, rotary: false", "causal: false"],
}
