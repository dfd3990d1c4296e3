"""Draw the first picture of the README: what layers 2 to 5 of the ImageNet AlexNet look for.

FOLDER holds photographs, for example one sub-folder per class. The picture shows projections only, none of the
photographs. Eight channels represent a layer: of the channels that are active in at least nine photographs, sorted by
their ninth strongest activation, those at equal distances in rank. A projection is cropped to the smallest square
around the centre of the receptive field that holds 90 % of the squared magnitudes of its layer's projections. Written:
alexnet_imagenet.jpg, and alexnet_imagenet.json with the channels, the photographs and the activations.

\b
  readme_pictures.py ../photographs --out notebooks/pictures
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from scripts import command_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deconv.figures import Subject

LAYERS = ("conv2", "conv3", "conv4", "conv5")
NAME = "alexnet_imagenet"
_CHANNELS, _TILES, _MOST_BYTES = 8, 9, 300_000
_SHARE, _PERCENTILE = 0.9, 99.0
_DPI, _SIDE, _GAP = 180, 58, 3
"""Resolution at which a tile of `_SIDE` pixels is drawn as it is."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of photographs.")],
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("notebooks/pictures"),
):
    command_line.check("FOLDER", folder, folder.is_dir(), "an existing folder")
    from deconv.cli import named_networks, subject_builder

    network = named_networks.NETWORKS["alexnet-imagenet"]._replace(dataset=str(folder.resolve()), split="all")
    try:
        subject = subject_builder.subject("alexnet-imagenet", network)
        if subject.data.size < _TILES:
            raise ValueError(f"FOLDER must hold at least {_TILES} photographs; '{folder}' holds {subject.data.size}.")
        with command_line.output_folder(out):
            draw(subject, out / f"{NAME}.jpg")
    except (ValueError, OSError, ImportError) as error:
        command_line.fail(error)
    typer.echo(f"Written: {out / NAME}.jpg and .json")


def draw(subject: "Subject", path: Path) -> None:
    """Write the picture and, beside it, a JSON file with the channels, photographs and activations."""
    from deconv.runtime.atomic_files import replacing

    numbers: dict[str, Any] = {}
    tiles = {}
    for layer, channels, shown, top in strongest(subject, LAYERS):
        tiles[layer] = channels, tiles_of(shown)
        parts = {name: getattr(top, name)[channels].tolist() for name in ("ids", "values")}
        numbers[layer] = {"channels": channels.tolist(), "side": central_side(shown), **parts}
    figure = sheet(tiles)
    for quality in range(94, 20, -4):
        with replacing(path) as temporary:
            figure.savefig(temporary, format="jpeg", dpi=_DPI, pil_kwargs={"quality": quality, "optimize": True})
        if path.stat().st_size <= _MOST_BYTES:
            break
    with replacing(path.with_suffix(".json")) as temporary:
        text = json.dumps({"weights": subject.weights, "data": subject.data.name, "layers": numbers})
        temporary.write_text(text + "\n", encoding="utf-8")


def strongest(subject: "Subject", layers):
    """For each layer its chosen channels, projections `(channels, 9, height, width, 3)`, and `TopActivations`."""
    import deconv
    from deconv.plotting import crop

    net = deconv.Deconvnet(subject.model)
    tops = deconv.top_activations(subject.model, subject.data, layers, _TILES, preprocess=subject.preprocess)
    for layer, top in tops.items():
        channels = evenly_ranked(top.values[:, -1], _CHANNELS)
        wanted, numbers = np.unique(top.ids[channels], return_inverse=True)
        inputs = subject.prepared(subject.pick(wanted))
        places, windows = top.positions[channels].reshape(-1, 2), top.windows[channels].reshape(-1, 4)
        each = np.repeat(channels, _TILES)
        projected = net.project_units(inputs, layer, each, places, numbers=numbers.ravel())
        shown = crop(subject.in_colour(projected), windows)
        yield layer, channels, shown.reshape(len(channels), _TILES, *shown.shape[1:]), top


def evenly_ranked(strengths: np.ndarray, count: int) -> np.ndarray:
    """Channels at equal distances in rank, from the strongest to the weakest, among those above zero.

    Args:
        strengths: `(channels,)`, one value per channel.
        count: Number of channels to choose; all if there are fewer.

    Returns:
        Ints `(count,)`: of `n` channels in descending order those in the middle of `count` equal parts.
    """
    order = np.argsort(-strengths, kind="stable")
    order = order[strengths[order] > 0]
    count = min(count, len(order))
    return order[((np.arange(count) + 0.5) * len(order) / max(count, 1)).astype(int)]


def central_side(projections: np.ndarray) -> int:
    """Side of the smallest square around the centre that holds `_SHARE` of the squared magnitudes of projections.

    Args:
        projections: `(channels, k, side, side, 3)`, NaN outside of the photographs.
    """
    energy = np.nansum(np.square(projections), axis=(0, 1, 4))
    side = len(energy)
    for inner in range(1, side):
        first = (side - inner) // 2
        if energy[first : first + inner, first : first + inner].sum() >= _SHARE * energy.sum():
            return inner
    return side


def tiles_of(projections: np.ndarray) -> np.ndarray:
    """Crop projections to `central_side`, resize them to `_SIDE` pixels, and divide each by its `_PERCENTILE`.

    Args:
        projections: `(channels, k, side, side, 3)`, signed, NaN outside of the photographs.

    Returns:
        `(channels, k, _SIDE, _SIDE, 3)` intensities between 0 and 1, zero at 0.5.
    """
    from PIL import Image

    from deconv.plotting import signed

    def resized(plane, method):
        return np.asarray(Image.fromarray(plane.astype(np.float32)).resize((_SIDE, _SIDE), method))

    channels, count, side = projections.shape[:3]
    inner = central_side(projections)
    inside = slice((side - inner) // 2, (side - inner) // 2 + inner)
    tiles = np.empty((channels * count, _SIDE, _SIDE, 3))
    for tile, projection in zip(tiles, projections[:, :, inside, inside].reshape(-1, inner, inner, 3), strict=True):
        outside = np.isnan(projection[..., 0])
        for colour in range(3):
            tile[..., colour] = resized(np.nan_to_num(projection[..., colour]), Image.Resampling.LANCZOS)
        tile[resized(outside, Image.Resampling.BOX) > 0.5] = np.nan
    return signed(tiles, percentile=_PERCENTILE).reshape(channels, count, _SIDE, _SIDE, 3)


def sheet(tiles: dict[str, tuple[np.ndarray, np.ndarray]]) -> "Figure":
    """One row per layer: `{layer: (channels, tiles)}`; the nine tiles of a channel in a square."""
    import matplotlib.pyplot as plt

    from deconv.plotting import GAP, mosaic

    fig, axes = plt.subplots(len(tiles), _CHANNELS, figsize=(9, 1.27 * len(tiles)), squeeze=False)
    fig.subplots_adjust(left=0.036, right=0.998, top=0.965, bottom=0.004, wspace=0.05, hspace=0.19)
    for row, (layer, (channels, shown)) in zip(axes, tiles.items(), strict=True):
        for place, ax in enumerate(row):
            ax.axis("off")
            if place < len(channels):
                ax.imshow(mosaic(shown[place], 3, _GAP, GAP), interpolation="antialiased")
                ax.set_title(f"channel {channels[place]}", fontsize=7.5, pad=2)
        row[0].text(-0.09, 0.5, layer, transform=row[0].transAxes, fontsize=11, rotation=90, ha="center", va="center")
    return fig


if __name__ == "__main__":
    app()
