"""The conditions that a scene may be rendered in."""

from dataclasses import dataclass

LIGHTS, WEATHERS = ("day", "dusk", "night"), ("dry", "rain")


@dataclass(frozen=True)
class Conditions:
    """What one scene is rendered in: city 'A' or 'B', light 'day', 'dusk' or 'night', weather 'dry' or 'rain'."""

    city: str = "A"
    light: str = "day"
    weather: str = "dry"

    @property
    def suffix(self) -> str:
        """What a scene's name ends with; nothing for city A by day."""
        names = ("b" if self.city == "B" else "", self.light if self.light != "day" else "")
        return "".join(f"-{name}" for name in (*names, self.weather if self.weather != "dry" else "") if name)

    @staticmethod
    def of_scene(name: str) -> "Conditions":
        """The conditions in a scene's name."""
        words = name.split("-")
        light = next((word for word in words if word in LIGHTS), "day")
        return Conditions("B" if "b" in words else "A", light, "rain" if "rain" in words else "dry")

    @property
    def description(self) -> str:
        """nuScenes' scene description, which names night and rain as nuScenes does."""
        if self == DEFAULT_CONDITIONS:
            return "Synthetic driving scene"
        words = (f"City {self.city}", self.light.capitalize(), "Rain" if self.weather == "rain" else "")
        return "Synthetic driving scene. " + ", ".join(word for word in words if word)


DEFAULT_CONDITIONS = Conditions()
