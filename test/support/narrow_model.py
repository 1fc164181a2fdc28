"""Settings of a model that benches of tests export and time: small pictures, few channels, a small grid."""

from kd_training.config.sections import GridConfig

NARROW = {
    "image_height": 64, "image_width": 96, "neck_channels": 16, "context_channels": 8, "bev_channels": 16,
    "bev_blocks": 1, "head_shared": 16, "head_hidden": 8, "grid": GridConfig(extent=12.8, cell_size=0.8),
}  # fmt: skip
