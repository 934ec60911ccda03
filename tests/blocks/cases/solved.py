"""Cases of search_spaces/blocks/solved.yaml: a block and the settings that it is tried with."""

BLOCKS = {
    "mesa": ["", "heads: 2, floor: 1"],
    "mesa_net": ["", "heads: 2, kernel: 2"],
    "quadratic": ["", "heads: 3, constraints: 4"],
}
