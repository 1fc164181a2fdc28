"""Parts that students are built from: image backbones, necks, view transforms, BEV encoders, detection heads."""
