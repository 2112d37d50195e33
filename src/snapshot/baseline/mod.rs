//! The baseline shared by strategies.
