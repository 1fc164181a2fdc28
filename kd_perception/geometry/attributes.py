"""nuScenes attributes from class and speed: the metric expects one, and the detector predicts none."""

MOVING_SPEED = 0.5  # m/s: slower is parked, standing or without a rider

_MOVING_AND_STILL = {
    "car": ("vehicle.moving", "vehicle.parked"),
    "truck": ("vehicle.moving", "vehicle.parked"),
    "construction_vehicle": ("vehicle.moving", "vehicle.parked"),
    "bus": ("vehicle.moving", "vehicle.stopped"),
    "trailer": ("vehicle.moving", "vehicle.parked"),
    "motorcycle": ("cycle.with_rider", "cycle.without_rider"),
    "bicycle": ("cycle.with_rider", "cycle.without_rider"),
    "pedestrian": ("pedestrian.moving", "pedestrian.standing"),
    "barrier": ("", ""),
    "traffic_cone": ("", ""),
}


def attribute_of(class_name: str, speed: float) -> str:
    """The most likely nuScenes attribute of a class at a speed in m/s; '' for classes that have none."""
    moving, still = _MOVING_AND_STILL[class_name]
    return moving if speed > MOVING_SPEED else still
