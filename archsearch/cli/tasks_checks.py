"""The last part of docs/tasks.md: what tasks are there to show, and how far networks have been seen to go."""

from __future__ import annotations

__all__ = ["CHECKS"]

CHECKS = """## Checks

What a task is there to show, on two layers of width 64 with one seed. Scores are on validation, seconds those of one
core of an AMD EPYC, of which no command takes more. Each row but the last is a slow test,
`scripts/test --slow tests/tasks/test_claims.py -k WORD`. The last is an ordinary one, in
tests/tasks/test_generated_language.py.

| claim | score | seconds | `-k` |
|---|---|---|---|
| attention recalls `in_context_recall` of length 64 | .9996 | 11 | `recalls_in_context` |
| and `multi_query_recall`, 256 tokens, length 64, 4 pairs | .998 | 44 | `many_keys` |
| and finds what followed in `induction_heads` of length 64 | 1.000 | 24 | `special_token` |
| and from 64 to 1,024, behind a short convolution and without positions | 1.000 | 17 | `sixteen` |
| and tells `compression`, 8 tokens, length 8, from the last step | .996 | 5 | `from_the_last_step` |
| of `selective_copying`, 4 of 32, Mamba keeps more than S4D, which reads all alike | .98, .77 | 74 | `mamba` |
| an LSTM follows `parity` from 40 to 256 symbols, attention does not | 1.000, .50 | 66 | `parity` |
| and the same of `permutations`, S3 | .993, .17 | 44 | `permutations` |
| linear attention learns `in_context_regression` to 2 % of a step of descent, .2062 | .2076 | 24 | `linear` |
| n-grams come within 1 % of the entropy of `generated_language`, orders 1 to 3 | | 1 | `n_grams` |

How far harder settings have been taken, with this as `net.yaml`:

<!-- test: point -->
```yaml
version: 1
name: net
define:
  layer:
    nodes:
      norm: {op: rms_norm, from: in}
      mix: {op: lstm, from: norm}
      join: {op: add, from: [in, mix]}
      norm2: {op: rms_norm, from: join}
      mlp: {op: mlp, expand: 4, from: norm2}
      out: {op: add, from: [join, mlp]}
graph:
  nodes:
    body: {repeat: layer, times: 2, from: in}
    out: {op: rms_norm, from: body}
scale: {width: 64}
```

```sh
archsearch train net.yaml --task modular_arithmetic --set task.examples_train=200000 \\
    --set task.shortest=1 --set task.length=29 --set task.test_length=100 --set training.steps=2400 \\
    --set training.batch=256 --set training.learning_rates=[4e-3] --set training.evaluation_examples=128
archsearch train net.yaml --task permutations --set task.group=a5 --set task.examples_train=200000 \\
    --set task.shortest=2 --set task.length=14 --set task.test_length=64 --set training.steps=4000 \\
    --set training.batch=256 --set training.learning_rates=[4e-3]
archsearch train search_spaces/controls/transformer.yaml --task induction_heads --set task.length=64 \\
    --set task.test_length=1024 --set training.evaluation_examples=64 --set training.rate_factors=[1]
archsearch run state_tracking --task permutations --set task.group=s5    # as published: hours a candidate
```

The first is at 1.00 on examples of training and at .54 on longer ones (330 s of a core), the second at 1.00 and .94
(280 s; trained on up to 8 symbols for 3,000 steps, .35), the third, attention with rotary positions, at 1.00 and .11.
Nothing has been trained here on brackets or on S5. At published sizes a step takes on a core, at width 64, 3.4 s and
1.8 GiB for 32 sequences of `multi_query_recall` with 512 tokens and 64 pairs, and at width 128, 0.2 s for 128 of
`compression`.

Drawing examples is at least 100 times as fast as the training that eats them, for every task that is drawn, with
brackets and grammars, too:

```sh
OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_tasks
```
"""
