"""Cases of search_spaces/blocks/fast_weights.yaml: a block and the settings that it is tried with."""

BLOCKS = {
    "linear_attention": ["", "feature: dpfp, nu: 2", "feature: taylor, heads: 2, key: 4", "feature: relu"],
    "retention": ["", "heads: 2, expand: 1"],
    "gla": ["", "heads: 2, key: 16, rank: 4"],
    "fast_weight_programmer": ["", "heads: 2, nu: 3"],
    "delta_net": ["", "heads: 2, beta_max: 2, kernel: 2"],
    "gated_delta_net": ["", "heads: 2, expand: 1, beta_max: 2"],
    "mlstm": ["", "heads: 2, expand: 1, forget: exp"],
    "rwkv7": ["", "heads: 2, rank: 4"],
}
