//! Shells as data: program names, options, driver text and quoting.
