"""What findings on data quality say, as sentences; each says what was found, and what a person can do about it."""

from collections.abc import Callable

from engine.quality_findings import Finding

__all__ = ["KINDS", "said"]


def _share(each: Finding) -> str:
    share = 100 * each.count / each.of if each.of else 0.0
    return f" ({share:.0f} %)" if share >= 10 else f" ({share:.2g} %)" if each.of else ""


def _of(each: Finding, what: str) -> str:
    return f"{each.count:,} of {each.of:,} {what}{_share(each)}"


_NOT_CONVERTED = "Nothing is converted on suspicion: if it is so, say it in a mapping"

_SAID: dict[str, Callable[[Finding], str]] = {
    "refused": lambda f: (
        f"{_of(f, 'rows')} in {f.detail['files']} files cannot be read: {f.detail['reason']}. They go to quarantine"
    ),
    "moved": lambda f: f"{_of(f, 'rows')} are of patients whose first row is of another site",
    "naive": lambda f: (
        f"{_of(f, 'times')} in {f.detail['files']} files have no offset and are read by the clocks of the zone given; "
        f"{f.detail['overlap']:,} of them are twice on those clocks (the first is taken), {f.detail['gap']:,} are "
        "skipped by them (refused)"
    ),
    "mixed_offsets": lambda f: (
        f"{_of(f, 'times')} of {f.detail['files']} files ({f.detail['names']}) have no offset, and the others of the "
        "same file have one: two sources, or two exports"
    ),
    "disorder": lambda f: (
        f"{_of(f, 'rows')} stand below a later one of the same patient. A replay sorts them; live they would be late"
    ),
    "disorder_more": lambda f: f"{f.count:,} more files have rows out of order",
    "unit_spellings": lambda f: f"the unit is written in {f.count} ways: {f.detail['units']}",
    "unit_wrong": lambda f: (
        f"{_of(f, 'readings')} are implausible, and usual if the unit were {f.detail['unit']}: looks like "
        f"{f.detail['unit']}, the file or mapping says {f.detail['said']}. {_NOT_CONVERTED}"
    ),
    "unit_median": lambda f: (
        f"the median of {f.count:,} readings is {f.detail['median']} {f.detail['ours']}: looks like "
        f"{f.detail['unit']}, the file or mapping says {f.detail['said']}. {_NOT_CONVERTED}"
    ),
    "unit_mixed": lambda f: (
        f"{_of(f, 'readings')} are to the one before as {f.detail['unit']} is to {f.detail['ours']}: two units of one "
        "patient, under one name"
    ),
    "future": lambda f: (
        f"{_of(f, 'readings')} are dated later than now (TIME_IN_FUTURE): a clock that runs ahead"
    ),
    "ancient": lambda f: (
        f"{_of(f, 'readings')} are dated before 2000 (TIME_BEFORE_2000): a clock that was never set"
    ),
    "midnight_local": lambda f: (
        f"{_of(f, 'readings')} are at 0:00:00 of the local clock: dates without a time of day"
    ),
    "midnight_utc": lambda f: f"{_of(f, 'readings')} are at 0:00:00 UTC: dates without a time of day",
    "dst_later": lambda f: (
        f"habits are {f.detail['minutes']} minutes later on the clocks of {f.detail['zone']} in summer time than in "
        "winter time: local times written as if they were UTC or of a fixed offset, or the wrong zone"
    ),
    "dst_earlier": lambda f: (
        f"habits are {-float(f.detail['minutes']):.0f} minutes earlier on the clocks of {f.detail['zone']} in summer "
        "time than in winter time: a clock that does not change, read as one that does, or the wrong zone"
    ),
    "clock_differs": lambda f: (
        f"readings are taken {f.detail['hours']:+g} hours from when other sites take theirs: another zone, or another "
        "habit"
    ),
    "implausible": lambda f: (
        f"{_of(f, 'readings')} are outside of {f.detail['low']:g} to {f.detail['high']:g} {f.detail['ours']} or no "
        "number; they go to quarantine (IMPLAUSIBLE, NAN, INFINITE)"
    ),
    "same": lambda f: f"{_of(f, 'readings')} are there twice: same patient, moment and value",
    "conflict": lambda f: f"{_of(f, 'readings')} say another value than one of the same patient and moment",
    "swapped": lambda f: (
        f"{_of(f, 'pressures')} have the diastolic above the systolic: two columns exchanged"
    ),
    "silent": lambda f: (
        f"{_of(f, 'patients')} have a gap of more than {f.detail['days']} days, also up to the end of the site's data; "
        f"the longest is {f.detail['longest']} days"
    ),
    "few_days": lambda f: (
        f"only {_of(f, 'patient-days')} have a reading, from each first reading to the end of the site's"
    ),
    "constant": lambda f: (
        f"{_of(f, 'patients')} have always the same value, up to {f.detail['longest']} times: a stuck device, "
        "or a value filled in"
    ),
    "copied": lambda f: (
        f"{_of(f, 'patients')} have the same series of values as another ({f.detail['sites']}): one person under two "
        "ids, or a copy"
    ),
}

KINDS = tuple(_SAID)
"""All kinds of findings."""


def said(each: Finding) -> str:
    """Say a finding in a sentence, with where to look if there is a first place."""
    about = ": ".join(filter(None, [each.group, each.signal]))
    first = f" (first: {each.where})" if each.where else ""
    return f"{about}{': ' if about else ''}{_SAID[each.kind](each)}{first}."
