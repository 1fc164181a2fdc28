"""`kd bench distill` and `kd bench report`: what distillation brings, on matched baselines, seed by seed."""
