"""Reports as HTML pages: one family of Jinja2 templates; a page holds its style and pictures and fetches nothing."""

import base64

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from kd_perception.drawing.cameras import encode_image

MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png"}


def render_page(template: str, **values: object) -> str:
    """The page that a template of `kd_perception.drawing.templates` makes of the values; text in them is escaped."""
    environment = Environment(
        loader=PackageLoader("kd_perception.drawing"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_url"] = data_url
    return environment.get_template(template).render(values)


def data_url(picture: np.ndarray, suffix: str = ".jpg") -> str:
    """A picture (height, width, 3) uint8 RGB as the address of an <img>."""
    return f"data:{MEDIA_TYPES[suffix]};base64,{base64.b64encode(encode_image(picture, suffix)).decode()}"
