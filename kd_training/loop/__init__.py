"""The training loop: steps, optimiser, gradients, state, progress."""
