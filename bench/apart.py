"""A protocol whose rules each open alerts of their own: what one rule would do without the others beside it."""

from collections.abc import Collection

from rules.protocol import Protocol

__all__ = ["apart"]


def apart(protocol: Protocol, only: Collection[str] = ()) -> Protocol:
    """Give the protocol with a problem of its own for each rule, or for each of `only` and without the others.

    As shipped, the rules of a problem share one open alert, and one that joins opens none. Features, conditions,
    limits and delays are what they were; each rule's alerts begin and end by its own conditions.
    """
    kept = (rule for rule in protocol.rules if rule.id in only or not only)
    rules = tuple(rule.model_copy(update={"problem": rule.id}) for rule in kept)
    # A copy has the cached hash of what it was copied from: made of its content, it has its own.
    content = {key: getattr(protocol, key) for key in type(protocol).model_fields} | {"rules": rules}
    return type(protocol).model_construct(**content)
