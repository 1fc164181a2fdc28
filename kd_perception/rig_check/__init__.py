"""`kd rig check`: what a bag says about its cameras, drawn and examined, without a model."""
