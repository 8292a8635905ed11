"""A protocol as it would be otherwise: each rule with alerts of its own, or without its questionnaires."""

from collections.abc import Collection

from rules.protocol import Protocol

__all__ = ["apart", "without_answers"]


def apart(protocol: Protocol, only: Collection[str] = ()) -> Protocol:
    """Give the protocol with a problem of its own for each rule, or for each of `only` and without the others.

    As shipped, the rules of a problem share one open alert, and one that joins opens none. Features, conditions,
    limits and delays are what they were; each rule's alerts begin and end by its own conditions.
    """
    kept = (rule for rule in protocol.rules if rule.id in only or not only)
    return _other(protocol, rules=tuple(rule.model_copy(update={"problem": rule.id}) for rule in kept))


def without_answers(protocol: Protocol) -> Protocol:
    """Give the protocol with its signals alone: without questionnaires, and what rests on their answers."""
    items = set(protocol.items)
    features = {name: each for name, each in protocol.features.items() if not items & set(each.signals)}
    gone = set(protocol.features) - set(features)
    return _other(
        protocol,
        features=features,
        rules=tuple(rule for rule in protocol.rules if not gone & set(rule.names)),
        non_transmission=tuple(each for each in protocol.non_transmission if not items & set(each.signals)),
        questionnaires={},
        tests=(),
    )


def _other(protocol: Protocol, **parts: object) -> Protocol:
    # A copy has the cached hash of what it was copied from: made of its content, it has its own.
    content = {key: getattr(protocol, key) for key in type(protocol).model_fields} | parts
    return type(protocol).model_construct(**content)
