"""Cases of search_spaces/blocks/shells.yaml: a block and the settings that it is tried with."""

FILTER = "core: {op: implicit_conv, length: 8, hidden: 6, bands: 3, frequency: 5.0}"
SELECTIVE = "core: {op: s6, state: 4}"

BLOCKS = {
    "mamba_block": ["", f"expand: 1.5, {SELECTIVE}", FILTER],
    "h3_block": ["", f"shift: {{op: short_conv, kernel: 8}}, {SELECTIVE}", FILTER],
    "hyena_block": ["", f"kernel: 2, {SELECTIVE}", FILTER],
    "parallel_heads": ["", "first: s6, second: {op: hyena_block}", "first: {op: gru}, second: min_gru"],
}
