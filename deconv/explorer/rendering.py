"""Files of the site: pages by Jinja2, data as scripts, and the static files."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from deconv.runtime.atomic_files import replacing

_STATIC = ("explorer.css", "common.js", "charts.js", "overview.js", "layer.js", "unit.js", "images.js")


def write_static(out: Path) -> None:
    """Copy style sheet and scripts into the folder `assets` of the site."""
    (out / "assets").mkdir(parents=True, exist_ok=True)
    for name in _STATIC:
        source = resources.files("deconv.explorer").joinpath("static", name)
        with replacing(out / "assets" / name) as partial:
            partial.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")


def write_page(path: Path, template: str, **values: Any) -> None:
    """Render a template with autoescaping, and write the page.

    Args:
        path: The file.
        template: Name of a template of this package.
        **values: Its variables.
    """
    from jinja2 import Environment, FunctionLoader

    def source(name: str) -> str:
        return resources.files("deconv.explorer").joinpath("templates", name).read_text(encoding="utf-8")

    environment = Environment(autoescape=True, loader=FunctionLoader(source), trim_blocks=True, lstrip_blocks=True)
    with replacing(path) as partial:
        partial.write_text(environment.get_template(template).render(**values), encoding="utf-8")


def write_data(path: Path, name: str, value: Any) -> None:
    """Write a value as a script that stores it under a name, because browsers do not read JSON from `file://`.

    Args:
        path: The file.
        name: The name.
        value: Any value that is serializable as JSON, without NaN.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    with replacing(path) as partial:
        partial.write_text(
            f"window.explorerData = window.explorerData || {{}};\nwindow.explorerData[{json.dumps(name)}] = {text};\n",
            encoding="utf-8",
        )


def read_data(path: Path) -> Any:
    """Read what `write_data` wrote."""
    text = path.read_text(encoding="utf-8")
    return json.loads(text.split("] = ", 1)[1].rstrip().rstrip(";"))
