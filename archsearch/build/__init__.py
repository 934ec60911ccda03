"""Architecture → nn.Module: `build.model.build`; what it costs: `build.cost`."""
