//! Full disks, missing rights, locked files, exclusions.
