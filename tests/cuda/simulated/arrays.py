"""What tests do with arrays of the simulator."""


def on_host(value):
    """Return an array of a device as one of numpy, other values as they are."""
    return value.copy_to_host() if hasattr(value, "copy_to_host") else value
