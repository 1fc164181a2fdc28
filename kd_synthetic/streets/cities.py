"""Two cities that look and drive differently: A, winding roads with traffic on the right; B, a grid of narrow streets
with traffic on the left, more two-wheelers and buses, other houses, trees and colours.
"""

from dataclasses import dataclass

from kd_synthetic.assets.mesh import Colour

RIGHT, LEFT = -1, 1  # side of a path (sign of its offset d) that traffic keeps to
Shares = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class City:
    """What the builders of roads, population, scenery and ground ask a city. Counts are means a scene."""

    name: str
    keep: int  # RIGHT or LEFT
    grid: bool  # straight streets with many crossings, else a winding road
    traffic: Shares  # 'trailer' is a lorry with its trailer
    parked: Shares
    cyclists: float  # on each side of the main road
    walkers: float
    parked_bicycles: float
    urban: float  # share of scenes with blocks of flats, the others have detached houses
    storeys: tuple[tuple[int, float], ...]
    setback: tuple[float, float]  # of blocks behind the pavement, metres
    gap: float  # largest distance between blocks, metres
    rows: int  # of houses, one behind the other; two stand close, wall to wall
    walls: tuple[Colour, ...]
    palms: bool
    lamp_spacing: float
    grass: float  # share of scenes with grass next to the roads
    asphalt: tuple[float, float]  # reflectance
    asphalt_tint: Colour
    pavement_tint: Colour
    yellow_centre: bool  # a double yellow line in the middle of the road, else white dashes


CITY_A = City(
    name="A",
    keep=RIGHT,
    grid=False,
    traffic=(("car", 0.56), ("truck", 0.1), ("bus", 0.11), ("motorcycle", 0.12), ("trailer", 0.11)),
    parked=(("car", 0.78), ("truck", 0.09), ("motorcycles", 0.05), ("trailer", 0.05), ("bus", 0.03)),
    cyclists=1.6,
    walkers=13,
    parked_bicycles=3.2,
    urban=0.55,
    storeys=((3, 0.25), (4, 0.3), (5, 0.25), (7, 0.12), (11, 0.08)),
    setback=(0.3, 3),
    gap=5,
    rows=1,
    walls=((0.5, 0.46, 0.4), (0.3, 0.13, 0.09), (0.45, 0.45, 0.46), (0.55, 0.5, 0.35), (0.2, 0.24, 0.28)),
    palms=False,
    lamp_spacing=27.0,
    grass=0.5,
    asphalt=(0.05, 0.16),
    asphalt_tint=(1.0, 0.99, 0.97),
    pavement_tint=(1.0, 0.97, 0.92),
    yellow_centre=True,
)
CITY_B = City(
    name="B",
    keep=LEFT,
    grid=True,
    traffic=(("car", 0.36), ("truck", 0.1), ("bus", 0.16), ("motorcycle", 0.33), ("trailer", 0.05)),
    parked=(("car", 0.56), ("truck", 0.1), ("motorcycles", 0.29), ("trailer", 0.02), ("bus", 0.03)),
    cyclists=3.0,
    walkers=20,
    parked_bicycles=5.5,
    urban=1.0,
    storeys=((3, 0.12), (4, 0.28), (6, 0.28), (9, 0.2), (14, 0.12)),
    setback=(0.0, 0.8),
    gap=1.5,
    rows=2,
    walls=(
        (0.62, 0.36, 0.2),
        (0.66, 0.55, 0.3),
        (0.3, 0.45, 0.44),
        (0.55, 0.24, 0.2),
        (0.6, 0.58, 0.53),
        (0.35, 0.42, 0.3),
        (0.6, 0.4, 0.42),
    ),
    palms=True,
    lamp_spacing=21.0,
    grass=0.0,
    asphalt=(0.1, 0.2),
    asphalt_tint=(1.0, 0.96, 0.9),
    pavement_tint=(1.0, 0.86, 0.74),
    yellow_centre=False,
)
CITIES = {city.name: city for city in (CITY_A, CITY_B)}
