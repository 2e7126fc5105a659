"""Backups of a workspace: made while others write, restored into a new folder.

    report = back_up(Path(".inferry"), Path("/backups/shop"), clock=utc_now)
    verify(Path("/backups/shop")).damaged            # ()
    restore(Path("/backups/shop"), Path("restored"))

A backup is a folder that grows by what is new, or one .tar file. It has the bytes of each file
under their digest, once, and *snapshots*: documents that say which file was where at one moment.

record.py     what a snapshot says, and how it is read
contents.py   what of a workspace's folder is kept, and what is made again
port.py       what a backup is written to and read from
folder.py     a backup in a folder
archive.py    a backup in a .tar file
making.py     makes one
restoring.py  restores one
verifying.py  reads all of one
"""

from registry.backup.making import Made, back_up
from registry.backup.record import Snapshot
from registry.backup.restoring import Restored, restore
from registry.backup.verifying import Verified, verify

__all__ = ["Made", "Restored", "Snapshot", "Verified", "back_up", "restore", "verify"]
