"""What devices and hub say to each other: JSON of the types below, version 1.

    desired.py     what a device shall run          hub -> device
    reported.py    what it runs, and how            device -> hub
    status.py      that it is there                 device -> hub
    telemetry.py   records, and their acknowledgement
    commands.py    commands and replies
    codec.py       bytes <-> types; refuses what is malformed, too large or of another version

Every message has ``v``, the version of this format. Unknown fields are ignored, so that an older
program reads a newer message of one version.
"""
