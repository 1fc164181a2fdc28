"""What a training step costs, and who spends it."""
