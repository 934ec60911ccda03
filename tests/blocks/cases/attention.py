"""Cases of search_spaces/blocks/attention.yaml: a block and the settings that it is tried with."""

BLOCKS = {
    "attention": [
        "",
        "heads: 2, positions: none",
        "causal: false",
        "kv_heads: 1, positions: alibi",
        "heads: 8, kv_heads: 2, head_dim: 6, qk_norm: true",
        "window: 5",
    ],
}
