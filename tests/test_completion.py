"""A static editor finds the names of the packages and their signatures without importing anything."""

from pathlib import Path

import jedi
import pytest

PROJECT = jedi.Project(Path(__file__).resolve().parent.parent)


@pytest.mark.parametrize(
    ("package", "start", "name", "argument"),
    [
        ("deconv", "occ", "occlusion_maps", "image"),
        ("deconv", "Dec", "Deconvnet", "model"),
        ("deconv", "top_a", "top_activations", "dataset"),
        ("deconv", "mir", "mirror", "layer"),
        ("models", "Le", "LeNet5", "weights"),
    ],
)
def test_an_editor_completes_names_and_shows_their_arguments(package, start, name, argument):
    code = f"import {package}\n{package}.{start}"
    found = {
        completion.name: completion
        for completion in jedi.Script(code, project=PROJECT).complete(2, len(package) + 1 + len(start))
    }
    assert name in found
    code = f"import {package}\n{package}.{name}("
    (signature,) = jedi.Script(code, project=PROJECT).get_signatures(2, len(package) + len(name) + 2)
    assert argument in [parameter.name for parameter in signature.params]


def test_the_stub_and_the_package_offer_the_same_names():
    import deconv

    names = {completion.name for completion in jedi.Script("import deconv\ndeconv.", project=PROJECT).complete(2, 7)}
    assert set(deconv.__all__) <= names
