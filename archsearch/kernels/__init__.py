"""The fast formulations, as functions of tensors, and the one dispatcher that chooses between them."""
