"""Cross-scale distillation: a camera student of high resolution teaches the same network at low resolution."""
