"""Cases of search_spaces/blocks/memory.yaml: a block and the settings that it is tried with."""

BLOCKS = {"kernel_memory": ["", "heads: 2"]}
