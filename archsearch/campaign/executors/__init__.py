"""Who trains the candidates: `inline` in this process, `ray_tune` in actors. Both have `run(desk, config, ...)`."""
