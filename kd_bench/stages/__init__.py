"""Time per stage and agreement of the engines with PyTorch."""
