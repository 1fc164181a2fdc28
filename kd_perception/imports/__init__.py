"""Recordings that come from elsewhere, as nuScenes-format tables."""
