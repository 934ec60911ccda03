"""Cases of search_spaces/blocks/recurrence.yaml: a block and the settings that it is tried with."""

BLOCKS = {
    "gru": ["", "expand: 2"],
    "lstm": ["", "expand: 0.5"],
    "rnn": ["", "expand: 2, activation: relu"],
    "min_gru": ["", "expand: 1"],
    "min_lstm": ["", "expand: 1"],
    "griffin": ["", "heads: 2, expand: 2, kernel: 3"],
    "slstm": ["", "heads: 2, kernel: 2"],
    "attentive_rnn": ["", "heads: 2, expand: 0.5"],
}
