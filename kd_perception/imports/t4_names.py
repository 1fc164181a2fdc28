"""Names of T4 data sets in nuScenes' words: categories with their spellings over the years, attributes, visibility.

After the label lists of tier4_perception_dataset, whose tools write T4.
"""

CATEGORIES = {  # spellings, in lower case, by the nuScenes category that means the same
    "vehicle.car": ("car", "cars"),
    "vehicle.truck": ("truck",),
    "vehicle.bus.rigid": ("bus", "vehicle.bus", "vehicle.bus (bendy & rigid)"),
    "vehicle.bus.bendy": (),
    "vehicle.trailer": ("trailer",),
    "vehicle.construction": (),
    "vehicle.motorcycle": ("motorcycle", "motorbike", "vehicle.motorbike"),
    "vehicle.bicycle": ("bicycle",),
    "vehicle.emergency.ambulance": ("ambulance", "vehicle.ambulance"),
    "vehicle.emergency.police": ("police_car", "vehicle.police"),
    "human.pedestrian.adult": ("pedestrian", "pedestrian.adult"),
    "human.pedestrian.child": ("pedestrian.child",),
    "human.pedestrian.construction_worker": ("construction_worker", "pedestrian.construction_worker"),
    "human.pedestrian.police_officer": ("police_officer", "pedestrian.police_officer"),
    "human.pedestrian.personal_mobility": ("personal_mobility", "pedestrian.personal_mobility"),
    "human.pedestrian.stroller": ("stroller", "pedestrian.stroller"),
    "human.pedestrian.wheelchair": ("wheelchair", "pedestrian.wheelchair"),
    "animal": (),
    "movable_object.barrier": ("barrier",),
    "movable_object.debris": ("debris",),
    "movable_object.pushable_pullable": ("pushable_pullable",),
    "movable_object.trafficcone": ("traffic_cone", "trafficcone", "movable_object.traffic_cone"),
    "static_object.bicycle_rack": ("static_object.bicycle rack",),
    "t4.fire_truck": ("vehicle.fire",),
    "t4.bollard": ("static_object.bollard",),
}
ATTRIBUTES = {  # those that mean the same in nuScenes; 'driving' may stand at a light, 'standing' may walk
    "cycle_state.with_rider": "cycle.with_rider",
    "cycle_state.without_rider": "cycle.without_rider",
    "motorcycle_state.with_rider": "cycle.with_rider",
    "motorcycle_state.without_rider": "cycle.without_rider",
    "vehicle_state.moving": "vehicle.moving",
    "vehicle_state.parked": "vehicle.parked",
    "vehicle_state.stopped": "vehicle.stopped",
    "pedestrian_state.moving": "pedestrian.moving",
    "pedestrian_state.sitting": "pedestrian.sitting_lying_down",
    "pedestrian_state.lying_down": "pedestrian.sitting_lying_down",
    "pedestrian_state.sitting_lying_down": "pedestrian.sitting_lying_down",
    "pedestrian_state.siting_lying_down": "pedestrian.sitting_lying_down",  # as older data sets spell it
}
VISIBILITY = {  # keys of written_tables.VISIBILITIES by the words of T4, and by nuScenes' that older data sets have
    "full": "4",
    "most": "3",
    "partial": "2",
    "none": "1",
    "v80-100": "4",
    "v60-80": "3",
    "v40-60": "2",
    "v0-40": "1",
}
_CATEGORY_OF = {spelling: name for name, spellings in CATEGORIES.items() for spelling in (name, *spellings)}


def category(name: str) -> str:
    """The category of a T4 name: nuScenes' where both mean the same, else `t4.` and the name as it is."""
    return _CATEGORY_OF.get(name.lower(), name if name.startswith("t4.") else f"t4.{name.lower()}")
