"""Cases of search_spaces/blocks/recurrence.yaml: a block and the settings that it is tried with."""

BLOCKS = {
    "gru": ["", "expand: 2"],
    "lstm": ["", "expand: 0.5"],
}
