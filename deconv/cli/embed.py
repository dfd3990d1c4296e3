"""`python -m deconv embed`: images embedded in a plane by a layer's output, and class separability over depth."""

from typing import Annotated

import typer

from deconv.cli.layer_option import layers_of
from deconv.cli.options import BatchSize, batches, check, command
from deconv.cli.subject_builder import looked_at


@command
def embed(
    request,
    layer: Annotated[str | None, typer.Option(help="Name of a layer [the last before the classes].")] = None,
    method: Annotated[str, typer.Option(help="tsne, or pca.")] = "tsne",
    count: Annotated[int, typer.Option(help="How many images at most.")] = 1000,
    perplexity: Annotated[float | None, typer.Option(help="About how many neighbours count [30, or less].")] = None,
    batch_size: BatchSize = None,
):
    """Lay images out in a plane by what a layer says of them, and see how classes part with depth.

    Needs the extra `probes` (scikit-learn).

    \b
      python -m deconv embed
      python -m deconv embed --layer pool2 --method pca --count 500
      python -m deconv embed --model own.keras --images my_pictures/ --preprocess unit --layer dense
    """
    check("--method", repr(method), method in ("tsne", "pca"), "tsne or pca")
    check("--count", count, count >= 4, "at least 4")
    check("--perplexity", perplexity, perplexity is None or perplexity >= 1, "at least 1")
    sizes = batches(batch_size)
    subject = looked_at(request)
    return subject, _pictures(subject, *_layers(subject, layer), method, count, perplexity, sizes)


def _layers(subject, given):
    """The layer to embed, and all layers with weights and max poolings, in their order."""
    from deconv import graph
    from deconv.graph.model_output import output_step

    model_graph = graph.walk(subject.model)
    steps = graph.subgraph(model_graph, output_step(model_graph)).steps  # the first of several outputs has the classes
    deep = [step.name for step in steps if step.layer.weights or step.name in subject.pools()]
    return layers_of(subject, [given])[0] if given else ([*deep[-2:-1], *deep[-1:]] or [steps[-1].name])[0], deep


def _pictures(subject, layer, deep, method, count, perplexity, sizes):
    import numpy as np

    from deconv.embedding.class_separation import separation
    from deconv.embedding.image_embedding import embed
    from deconv.figures import Picture
    from deconv.graph.keras_model import label
    from deconv.plotting.embedding import embedding_sheet, in_words
    from deconv.plotting.probes import layer_chart

    options = {"images": count, "preprocess": subject.preprocess, "seed": subject.seed, **sizes}
    found = embed(subject.model, subject.data, layer, method, perplexity=perplexity, **options)
    title = f"{layer} of {subject.model.name}: {in_words(found)}"
    caption = (
        f"Images of {subject.data.name}, by what {layer} says of them: who is near whom means something; distances "
        "between clusters, and their sizes, do not. Trustworthiness is 1 if the neighbours of each image here are its "
        "neighbours in the layer."
    )
    figure = embedding_sheet(found, subject.pick(found.ids), subject.data.class_names or None, title)
    yield Picture(f"embed_{label(layer)}", title, caption, figure, found._asdict())

    classes, sizes = np.unique(found.labels[found.labels >= 0], return_counts=True)
    if len(classes) < 2 or sizes.min() < 2 or sizes.sum() <= 5:
        return
    apart = separation(subject.model, subject.data, deep, **options)
    title = f"How the classes part in the layers of {subject.model.name}"
    caption = (
        f"Share of {apart.images.sum():,} images of {subject.data.name} whose class the {apart.neighbours} nearest of "
        "the others tell by their vote, in each layer, beginning with the pixels; mean of the classes."
    )
    of_layers = apart.accuracy[:, None], apart.deviation[:, None], apart.layers, apart.values
    figure = layer_chart(*of_layers, [f"{apart.neighbours} nearest neighbours"], apart.chance, title)
    yield Picture("embed_separation", title, caption, figure, apart._asdict())
