"""The mistakes that pictures and a cloud can reveal."""

from enum import StrEnum


class Mistake(StrEnum):
    """What was done wrong, in two or three words."""

    swapped = "two cameras swapped"
    elsewhere = "pictures of another camera"
    exchanged_sides = "left and right exchanged"
    body_frame = "body frame"
    turned_twice = "optical frame twice"
    inverted = "transform inverted"
    upside_down = "picture upside down"
    mirrored = "picture mirrored"
    cloud_turned = "cloud turned"
    cloud_yaw = "LiDAR's mounting turned"
    cloud_mirrored = "cloud mirrored"
    cloud_upside_down = "cloud upside down"
    cloud_clock = "cloud's clock"
    focal_length = "focal length"
    mounting_turned = "mounting turned"
