"""What an error must say."""


def says(error, *parts):
    text = str(getattr(error, "value", error))
    for part in parts:
        assert part in text, f"{part!r} is not in: {text}"
