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
    "latent_attention": ["", "heads: 3, head_dim: 6, latent: 5, query_latent: 7"],
    "differential_attention": ["", "heads: 2, positions: none, lambda_init: 0.5"],
    "hopfield": ["", "heads: 2, steps: 1, beta: 0.5", "steps: 2, causal: false"],
}
