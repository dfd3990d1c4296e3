"""`python -m deconv explore`: a static web site with a page for every unit of every layer."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deconv.cli.layer_option import layers_of
from deconv.cli.options import BatchSize, Layers, Request, batches, check, command
from deconv.cli.output import in_terminal
from deconv.cli.subject_builder import requested_subject
from deconv.imaging.image_files import printable


@command
def explore(
    request: Request,
    layer: Layers = None,
    k: Annotated[int, typer.Option("--k", help="Number of strongest images per channel.")] = 9,
    count: Annotated[int, typer.Option(help="Number of images with a page of their own.")] = 24,
    visualize: Annotated[
        bool, typer.Option("--visualize", help="Optimise an image for each unit; takes long for many units.")
    ] = False,
    attribution: Annotated[
        str | None, typer.Option(help="Explain the strongest image of each unit, for example by grad_cam or lrp.")
    ] = None,
    batch_size: BatchSize = None,
):
    """Write a web site that shows what every channel of the network responds to. It needs no server: open index.html.

    Without --layer, all convolutions are used. The same command continues after an interruption.

    \b
      python -m deconv explore --out site/
      python -m deconv explore --model own.keras --images my_photographs/ --preprocess unit --out site/
    """
    check("--k", k, k >= 1, "at least 1")
    check("--count", count, count >= 1, "at least 1")
    sizes: dict[str, Any] = batches(batch_size)
    subject = requested_subject(request)
    layers = layers_of(subject, layer)
    from deconv.explorer.site import explore

    about = {
        "Data set": f"{subject.data.name}, part: {subject.data.split}",
        "Source of the images": str(subject.data.source),
        "Weights": subject.weights or "of the user",
        "Seed": str(subject.seed),
    }
    page = explore(
        subject.model,
        subject.data,
        request.out,
        layers,
        k=k,
        preprocess=subject.preprocess,
        class_names=subject.class_names if subject.has_classes else None,
        image_count=count,
        attribution=attribution,
        visualize=visualize,
        contrast=subject.contrast,
        fill=subject.fill,
        about=about,
        seed=subject.seed,
        progress=in_terminal(),
        **sizes,
    )
    typer.echo(f"Written: {printable(Path(page))}")
