"""`python -m deconv embed`: images embedded in a plane by a layer's output, and class separability over depth."""

from typing import Annotated

import typer

from deconv.cli.layer_option import layers_of
from deconv.cli.options import BatchSize, Request, batches, check, command
from deconv.cli.subject_builder import requested_subject


@command
def embed(
    request: Request,
    layer: Annotated[str | None, typer.Option(help="Name of a layer [default: the last below the classes].")] = None,
    method: Annotated[str, typer.Option(help="tsne or pca.")] = "tsne",
    count: Annotated[int, typer.Option(help="Largest number of images.")] = 1000,
    perplexity: Annotated[
        float | None, typer.Option(help="Perplexity of t-SNE [default: 30, or less for few images].")
    ] = None,
    batch_size: BatchSize = None,
):
    """Embed images in a plane by the activations of a layer, and measure how well every layer separates the classes.

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
    subject = requested_subject(request)
    embedded, compared = _layers(subject, layer)
    return subject, _pictures(subject, embedded, compared, method, count, perplexity, sizes)


def _layers(subject, given):
    """The layer to embed, and all layers with weights and all max poolings, in their order."""
    from deconv import graph
    from deconv.graph.model_output import output_step

    model_graph = graph.walk(subject.model)
    steps = graph.subgraph(model_graph, output_step(model_graph)).steps  # the first of several outputs has the classes
    compared = [step.name for step in steps if step.layer.weights or step.name in subject.pools()]
    default = ([*compared[-2:-1], *compared[-1:]] or [steps[-1].name])[0]
    return layers_of(subject, [given])[0] if given else default, compared


def _pictures(subject, layer, compared, method, count, perplexity, sizes):
    import numpy as np

    from deconv.embedding.class_separation import separation
    from deconv.embedding.image_embedding import embed
    from deconv.figures import Picture
    from deconv.graph.keras_model import label
    from deconv.plotting.embedding import in_words

    options = {"images": count, "preprocess": subject.preprocess, "seed": subject.seed, **sizes}
    embedding = embed(subject.model, subject.data, layer, method, perplexity=perplexity, **options)
    title = f"{layer} of {subject.model.name}: {in_words(embedding)}"
    caption = (
        f"Images of {subject.data.name}, embedded by their activations in {layer}. Neighbourhoods are meaningful; "
        "distances between clusters, and their sizes, are not. Trustworthiness is 1 if the neighbours of each image in "
        "the plane are its neighbours in the layer."
    )
    figure = embedding.plot(subject.pick(embedding.ids), subject.data.class_names or None, title)
    yield Picture(
        name=f"embed_{label(layer)}", title=title, caption=caption, figure=figure, numbers=embedding._asdict()
    )

    classes, counts = np.unique(embedding.labels[embedding.labels >= 0], return_counts=True)
    if len(classes) < 2 or counts.min() < 2 or counts.sum() <= 5:
        return
    result = separation(subject.model, subject.data, compared, **options)
    title = f"Class separation in the layers of {subject.model.name}"
    caption = (
        f"Accuracy with which the {result.neighbours} nearest neighbours predict the class of each of "
        f"{result.images.sum():,} images of {subject.data.name}, for the pixels and each layer; mean of the classes."
    )
    figure = result.plot(title=title)
    yield Picture(name="embed_separation", title=title, caption=caption, figure=figure, numbers=result._asdict())
