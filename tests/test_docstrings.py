"""Every public docstring is complete numpydoc."""

import importlib
import inspect

import pytest
from numpydoc.validate import validate

ROOMS = ["skxent.losses", "skxent.metrics", "skxent.linear_model", "skxent.torch"]
# ES01: one sentence can be enough. GL01: the summary stands on the line of the quotes.
# RT02: results have names, as in scikit-learn. SA04: the name often says it.
# EX01, SA01: methods are shown in the example of their class.
ALLOWED = {"ES01", "GL01", "RT02", "SA04"}
ALLOWED_IN_METHODS = ALLOWED | {"EX01", "SA01"}


def methods(thing):
    """Public methods that a class of ours defines, none of torch or scikit-learn."""
    ours = [each for each in thing.__mro__ if each.__module__.startswith("skxent")]
    names = {name for each in ours for name in vars(each)}
    return sorted(n for n in names if n[0] != "_" and not n.endswith("_request"))


def public_objects():
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in module.__all__:
            thing = getattr(module, name)
            yield f"{room}.{name}"
            if inspect.isclass(thing):
                for method in methods(thing):
                    yield f"{room}.{name}.{method}"


@pytest.mark.parametrize("name", list(public_objects()))
def test_docstring(name):
    allowed = ALLOWED if name.count(".") == 2 else ALLOWED_IN_METHODS
    errors = [(c, text) for c, text in validate(name)["errors"] if c not in allowed]
    assert not errors
