"""Losses of detection."""
