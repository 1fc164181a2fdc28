"""What light leaves the surfaces that rays meet: textures, sun with shadow rays, sky, lamps, reflections, haze."""

from dataclasses import dataclass

import cv2
import numpy as np

from kd_synthetic.assets.buildings import FACADE_METRES
from kd_synthetic.assets.mesh import Material, Mesh
from kd_synthetic.assets.textures import remap, wrap_sample
from kd_synthetic.rendering.geometry import AO_CELL, AO_REACH, Geometry
from kd_synthetic.rendering.lamp_light import lamp_light
from kd_synthetic.rendering.lamps import lit_windows
from kd_synthetic.rendering.light import Lighting
from kd_synthetic.rendering.tracer import Hits
from kd_synthetic.rendering.world import World
from kd_synthetic.streets.ground import GroundMap

WET_DARKENING = 0.55  # wet asphalt scatters about half of what dry asphalt does
# Share of light that a surface mirrors at normal incidence.
MIRROR = {Material.PAINT: 0.045, Material.METAL: 0.12, Material.GLASS: 0.07}
_LINEAR = ((np.arange(256) / 255.0) ** 2.2).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Shaded:
    """Radiance (N, 3) of N rays, and the material each one meets (N,), 255 for the sky."""

    radiance: np.ndarray
    material: np.ndarray


class Shader:
    """Shades rays of one camera; `pixel` is the angle in radians that one ray stands for."""

    def __init__(self, world: World, pixel: float) -> None:
        self.world, self.pixel = world, pixel
        self._facades = _facade_levels(world.facades)

    def shade(self, geometry: Geometry, hits: Hits) -> Shaded:
        """Light along the rays of `hits`, towards their origins."""
        light, directions = self.world.light, hits.directions
        radiance = np.zeros((len(directions), 3), np.float32)
        hit = hits.triangle >= 0
        material = np.where(hit, geometry.mesh.material[hits.triangle], 255)
        ground = np.flatnonzero(material == Material.GROUND)
        radiance[ground] = self._shade_ground(geometry, hits.points(ground), hits.distance[ground], directions[ground])
        solid = np.flatnonzero(hit & (material != Material.GROUND))
        radiance[solid] = self._shade_solid(geometry, _SolidHits.of(geometry.mesh, hits, solid))
        clear = np.exp(-hits.distance / light.haze_length)
        for channel in range(3):  # numpy is slow where the last axis is short
            radiance[:, channel] = radiance[:, channel] * clear + light.haze[channel] * (1 - clear)
        sky = np.flatnonzero(~hit)
        radiance[sky] = light.sky_colour(directions[sky])
        return Shaded(radiance, material)

    def _shade_ground(
        self, geometry: Geometry, points: np.ndarray, distance: np.ndarray, directions: np.ndarray
    ) -> np.ndarray:
        light, ground = self.world.light, self.world.ground
        xy = points[:, :2] - self.world.local_ground_origin
        footprint = distance * self.pixel / np.sqrt(np.maximum(-directions[:, 2], 0.02))
        albedo = _ground_albedo(ground, xy, footprint)
        if light.wet:
            albedo *= WET_DARKENING
        lit = _sunlit(geometry, light, points + np.float32(0.01) * light.to_sun + np.array((0, 0, 0.004), np.float32))
        grid = (points[:, :2] - geometry.contact_centre + AO_REACH) / AO_CELL - 0.5
        contact = remap(geometry.contact, grid[:, 0], grid[:, 1], cv2.BORDER_CONSTANT)[:, 0]
        sun = light.sun * light.to_sun[2]
        irradiance = lit[:, None] * sun + light.sky * (1.0 - 0.85 * contact)[:, None]
        if geometry.lamps is not None:
            up = np.array(((0, 0, 1),), np.float32)
            irradiance = irradiance + lamp_light(geometry.lamps, geometry.tracer, points, up)
        return albedo * irradiance

    def _shade_solid(self, geometry: Geometry, hits: "_SolidHits") -> np.ndarray:
        """Radiance (N, 3) of hits on anything but the ground."""
        light, normal, material = self.world.light, hits.normal, hits.material
        albedo, gloss = self._surfaces(hits)
        towards = np.einsum("ni,i->n", normal, light.to_sun)
        lit = np.zeros(len(towards), np.float32)
        sunny = np.flatnonzero(towards > 0)
        clear = _sunlit(geometry, light, hits.points[sunny] + np.float32(0.012) * normal[sunny])
        lit[sunny] = towards[sunny] * clear
        up = 0.5 + 0.5 * normal[:, 2]
        low = 0.62 + 0.38 * np.clip(hits.points[:, 2] / 0.9, 0, 1)
        diffuse = np.empty((3, len(up)), np.float32).T
        for channel in range(3):
            sky = light.sky[channel] * up + light.bounce[channel] * (1 - up)
            diffuse[:, channel] = lit * light.sun[channel] + sky * low
        if geometry.lamps is not None:
            lamp = lamp_light(geometry.lamps, geometry.tracer, hits.points, normal)
            lamp[material == Material.RETRO] *= 4.0  # sends headlamps' light back where it came from
            diffuse = diffuse + lamp
        result = albedo * diffuse
        shiny = np.flatnonzero(gloss > 0)
        if len(shiny):
            result[shiny] += _reflections(light, hits, shiny, gloss[shiny], lit[shiny] > 0)
        lamp = np.flatnonzero(material == Material.LIGHT)
        shown = hits.mesh.colour[hits.triangle[lamp]]
        if geometry.lamps is None:
            result[lamp] += shown * 0.5
        else:
            result[lamp] += shown * geometry.lamps.emission[hits.triangle[lamp], None]
            result += self._windows(hits) * light.lamp_scale
        return result

    def _surfaces(self, hits: "_SolidHits") -> tuple[np.ndarray, np.ndarray]:
        """Reflectance (N, 3) and mirror reflectance at normal incidence (N,), textures included."""
        material, albedo = hits.material, hits.mesh.colour[hits.triangle]
        gloss = np.zeros(len(material), np.float32)
        for kind, value in MIRROR.items():
            gloss[material == kind] = value
        wall = np.flatnonzero(material == Material.FACADE)
        if len(wall):
            footprint = (
                hits.distance[wall] * self.pixel / FACADE_METRES[0] / np.sqrt(np.maximum(hits.facing[wall], 0.1))
            )
            texel = _facade_sample(self._facades, hits.uv(wall), hits.layer(wall), footprint)
            glass = texel[:, 3:] / 255.0
            albedo[wall] = (albedo[wall] * (1 - glass) + 0.25 * glass) * (texel[:, :3] / 215.0) ** 2.2
            gloss[wall] = 0.07 * glass[:, 0]
        leaves = np.flatnonzero(material == Material.FOLIAGE)
        if len(leaves):
            p, detail = hits.points[leaves], self.world.ground.detail
            noise = wrap_sample(detail, p[:, 0] * 0.31 + p[:, 2] * 0.23, p[:, 1] * 0.31 - p[:, 2] * 0.29)[:, 0] - 1.0
            coarse = wrap_sample(detail, p[:, 0] * 0.09 + p[:, 2] * 0.07, p[:, 1] * 0.09 - p[:, 2] * 0.08)[:, 0] - 1.0
            near = np.clip(1.5 - hits.distance[leaves] / 60.0, 0.2, 1.0)
            albedo[leaves] *= np.exp(5.0 * near * noise + 4.0 * coarse)[:, None]
        return albedo, gloss

    def _windows(self, hits: "_SolidHits") -> np.ndarray:
        """What lit rooms (N, 3) add."""
        result = np.zeros((len(hits.triangle), 3), np.float32)
        wall = np.flatnonzero(hits.material == Material.FACADE)
        if len(wall):
            uv, layer = hits.uv(wall), hits.layer(wall)
            glass = _facade_sample(self._facades, uv, layer, np.zeros(len(wall)))[:, 3:] / 255.0
            tint = hits.mesh.colour[hits.triangle[wall], 0]
            result[wall] = glass * lit_windows(uv, layer, tint, hits.points[wall, 2])
        return result


@dataclass(frozen=True, eq=False)
class _SolidHits:
    """N hits on triangles of a mesh: triangle and distance (N,), barycentric u and v (N, 1), points, directions and
    normals towards the camera (N, 3), `facing` (N,) the cosine between normal and ray.
    """

    mesh: Mesh
    triangle: np.ndarray
    distance: np.ndarray
    u: np.ndarray
    v: np.ndarray
    points: np.ndarray
    directions: np.ndarray
    normal: np.ndarray
    facing: np.ndarray

    @staticmethod
    def of(mesh: Mesh, hits: Hits, index: np.ndarray) -> "_SolidHits":
        """The hits `index` (N,), with smooth normals."""
        triangle, directions = hits.triangle[index], hits.directions[index]
        u, v, corner = hits.u[index, None], hits.v[index, None], mesh.normals[triangle]
        normal = _between(corner, u, v)
        normal /= np.sqrt(np.einsum("ni,ni->n", normal, normal))[:, None] + 1e-6
        facing = np.einsum("ni,ni->n", normal, directions)
        normal *= np.where(facing > 0, -1.0, 1.0).astype(np.float32)[:, None]
        points = hits.points(index)
        return _SolidHits(mesh, triangle, hits.distance[index], u, v, points, directions, normal, np.abs(facing))

    @property
    def material(self) -> np.ndarray:
        """Material (N,) of each hit."""
        return self.mesh.material[self.triangle]

    def uv(self, index: np.ndarray) -> np.ndarray:
        """Texture coordinates (M, 2) of some of the hits."""
        return _between(self.mesh.uv[self.triangle[index]], self.u[index], self.v[index])

    def layer(self, index: np.ndarray) -> np.ndarray:
        """Facade layer (M,) of some of the hits."""
        return self.mesh.layer[self.triangle[index]]


def _between(corners: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Values (N, C) inside triangles from those at their corners (N, 3, C), by barycentric u and v (N, 1)."""
    (u,), (v,) = u.T, v.T
    out = np.empty((corners.shape[2], len(corners)), corners.dtype)
    for channel, row in enumerate(out):
        row[:] = corners[:, 0, channel] * (1 - u - v) + corners[:, 1, channel] * u + corners[:, 2, channel] * v
    return out.T


def _sunlit(geometry: Geometry, light: Lighting, points: np.ndarray) -> np.ndarray:
    """Which points (N,) the sun reaches."""
    if not light.sun.any():
        return np.zeros(len(points), bool)
    return ~geometry.tracer.blocked(points, np.ascontiguousarray(np.broadcast_to(light.to_sun, points.shape)))


def _ground_albedo(ground: GroundMap, xy: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Linear reflectance (N, 3) at positions (N, 2) in the picture's metres."""
    image = ground.pyramid.levels[0]
    size = np.array((image.shape[1], image.shape[0])) * ground.pyramid.texel
    inside = ((xy > 0) & (xy < size)).all(1)
    albedo = np.broadcast_to(ground.far_colour, (len(xy), 3)).copy()
    index = np.flatnonzero(inside)
    coded = ground.pyramid.sample(xy[index, 0], xy[index, 1], footprint[index])
    albedo[index] = _LINEAR[np.clip(coded + 0.5, 0, 255).astype(np.uint8)]
    near = np.flatnonzero(footprint < 0.12)
    tile = xy[near] / ground.detail_size
    fine = wrap_sample(ground.detail, tile[:, 0], tile[:, 1]) - 1.0
    albedo[near] *= 1.0 + fine * np.clip(1.0 - footprint[near] / 0.12, 0, 1)[:, None]
    return albedo


def _facade_levels(facades: np.ndarray) -> list[np.ndarray]:
    """Mip levels, each (styles * size, size, 4): the styles stacked."""
    levels = []
    size = facades.shape[1]
    while size >= 8:
        levels.append(
            np.concatenate([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in facades])
        )
        size //= 2
    return levels


def _facade_sample(levels: list[np.ndarray], uv: np.ndarray, layer: np.ndarray, footprint: np.ndarray) -> np.ndarray:
    """Samples (N, 4) float32 in [0, 255]; footprint in tiles a pixel."""
    out = np.empty((len(uv), 4), np.float32)
    size = levels[0].shape[1]
    level = np.clip(np.rint(np.log2(np.maximum(footprint * size, 1e-6))), 0, len(levels) - 1).astype(np.int8)
    part = uv - np.floor(uv)
    for index, image in enumerate(levels):
        mask = np.flatnonzero(level == index)
        if len(mask):
            side = image.shape[1]
            x = part[mask, 0] * side - 0.5
            y = np.clip(part[mask, 1] * side - 0.5, 0, side - 1) + layer[mask].astype(np.float32) * side
            out[mask] = remap(image, x, y, cv2.BORDER_REPLICATE)
    return out


def _reflections(
    light: Lighting, hits: _SolidHits, index: np.ndarray, gloss: np.ndarray, lit: np.ndarray
) -> np.ndarray:
    """Mirrored sky, or dark surroundings below it, by Schlick's Fresnel term, and the sun's glint; for hits `index`."""
    facing = hits.facing[index]
    mirrored = hits.directions[index] + 2 * facing[:, None] * hits.normal[index]
    fresnel = gloss + (1 - gloss) * (1 - facing) ** 5 * 0.8
    sky = light.sky_colour(mirrored)
    street = light.bounce * 0.9
    above = np.clip((mirrored[:, 2] - 0.02) / 0.18, 0, 1)
    glint, towards = np.zeros_like(facing), mirrored @ light.to_sun
    sunny = np.flatnonzero(lit & (towards > 0))
    glint[sunny] = np.minimum(towards[sunny], 1) ** 350 * 10.0
    result = np.empty_like(sky)
    for channel in range(3):
        around = sky[:, channel] * above + street[channel] * (1 - above)
        result[:, channel] = fresnel * around + glint * fresnel * light.sun[channel]
    return result
