"""Which files a model may have: what cannot run code when it is opened, unless it was allowed.

    report = check_formats([("model.pkl", path)], allow_pickle=False)   # raises FormatError
    report.code          # what can run code, where that was allowed

Only bytes are looked at. Nothing here, or anywhere in the registry, unpickles, unmarshals or
imports what a file says; that is left to the process that scores.

checking.py      decides about each file
pickle_walk.py   whether bytes are a pickle, op by op, without running one
containers.py    what zips, compressed files, NumPy and HDF5 files hold
safetensors.py   whether a header is right
"""

from registry.formats.checking import FormatError, FormatReport, check_formats

__all__ = ["FormatError", "FormatReport", "check_formats"]
