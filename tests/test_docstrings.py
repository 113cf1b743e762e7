"""Every public docstring is complete numpydoc."""

import importlib
import inspect

import pytest
from numpydoc.validate import validate

ROOMS = ["skxent.losses", "skxent.metrics", "skxent.linear_model"]
# ES01: one sentence can be enough. GL01: the summary stands on the line of the quotes.
# RT02: results have names, as in scikit-learn. SA04: the name often says it.
# EX01, SA01: methods are shown in the example of their class.
ALLOWED = {"ES01", "GL01", "RT02", "SA04"}
ALLOWED_IN_METHODS = ALLOWED | {"EX01", "SA01"}
# what scikit-learn's base classes bring along
INHERITED = {"score", "get_params", "set_params", "get_metadata_routing"}


def public_objects():
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in module.__all__:
            thing = getattr(module, name)
            yield f"{room}.{name}"
            if inspect.isclass(thing):
                for method in dir(thing):
                    inherited = method in INHERITED or method.endswith("_request")
                    if not method.startswith("_") and not inherited:
                        yield f"{room}.{name}.{method}"


@pytest.mark.parametrize("name", list(public_objects()))
def test_docstring(name):
    allowed = ALLOWED if name.count(".") == 2 else ALLOWED_IN_METHODS
    errors = [(c, text) for c, text in validate(name)["errors"] if c not in allowed]
    assert not errors
