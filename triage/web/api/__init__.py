"""The interface for programs: what the pages can do, with a token instead of a page.

`build.py` puts it together, `door.py` is who may come in and what is said when something is not done; the others have
the routes, an idea each. What is done is done by `triage.work` and `triage.people`, as for the pages.
"""
