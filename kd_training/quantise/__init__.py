"""Student files in half precision and in int8: calibration, sensitivity, quantisation-aware training, Q/DQ."""
