"""Files as a source of packets: tables of readings and ECG records, merged into one stream in event-time order.

A replay of files follows event time, as if nothing had been late; files have no receipt times. A log of Vigie has
them, and is replayed in the order of arrival elsewhere (`ingest.log`): here it is only recognised.
"""

from ingest.formats.errors import FormatError
from ingest.formats.mapping import Mapping, Mappings, load_mapping
from ingest.formats.paths import Found, PathKind, find_paths, kind_of_path
from ingest.formats.replay import Progress, Replay, open_paths
from ingest.formats.vocabulary import Item

__all__ = [
    "FormatError",
    "Found",
    "Item",
    "Mapping",
    "Mappings",
    "PathKind",
    "Progress",
    "Replay",
    "find_paths",
    "kind_of_path",
    "load_mapping",
    "open_paths",
]
