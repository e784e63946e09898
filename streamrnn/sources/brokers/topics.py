"""Topics of MQTT, and filters that choose among them: `+` stands for one level, `#` at the end for all that follow."""

LONGEST = 65_535  # bytes


def problem(filter: str) -> str | None:
    """Why it cannot be asked for, None if it can."""
    levels = filter.split("/")
    if not filter or "\0" in filter or len(filter.encode()) > LONGEST:
        return f"must have 1 to {LONGEST} bytes, none of them NUL"
    if any("+" in level and level != "+" for level in levels):
        return "must have + as a level of its own, as in plant/+/temperature"
    if any("#" in level for level in levels[:-1]) or ("#" in levels[-1] and levels[-1] != "#"):
        return "must have # as its last level, as in plant/#"
    if levels[0] == "$share":
        return "cannot be shared with other clients: they would be given what this one has not acknowledged"
    return None


def overlap(one: str, other: str) -> bool:
    """Whether there are topics that both choose."""
    first, second = one.split("/"), other.split("/")
    for a, b in zip(first, second, strict=False):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    longer = max(first, second, key=len)
    return len(first) == len(second) or longer[min(len(first), len(second))] == "#"


def level(topic: str, number: int) -> str | None:
    """That level of a topic, counted from 1, None where it has not so many; the whole topic for 0."""
    levels = ["", *topic.split("/")]
    return topic if number == 0 else levels[number] if number < len(levels) else None
